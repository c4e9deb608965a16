"""The decoder: tokens and a cache in, logits and a cache out. Knows nothing of requests."""

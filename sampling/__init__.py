"""Logits in, tokens out. Knows nothing of models or requests."""

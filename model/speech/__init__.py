"""Speech models: sound → text, beside the decoder. They know nothing of requests."""

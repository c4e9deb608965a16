"""What speaks: texts in, sound out. Knows nothing of requests, nor of the model that writes."""

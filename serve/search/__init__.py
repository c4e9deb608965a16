"""What is found for a request that asks for a search, and how a model is shown it."""

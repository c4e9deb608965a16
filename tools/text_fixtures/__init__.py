"""What the fixtures of tokenizers and chat templates are made from."""

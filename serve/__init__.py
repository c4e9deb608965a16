"""The chat-completions service: HTTP, text and the engine."""

"""Text: conversations to token ids, token ids back to characters."""

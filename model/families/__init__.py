"""Model families: each maps a published config and its weight names onto the shared decoder."""

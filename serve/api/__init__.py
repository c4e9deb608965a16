"""HTTP: from bytes to a validated request, from token events to bytes."""

"""What a prompt has beside text: bytes of strangers in, pictures and texts out."""

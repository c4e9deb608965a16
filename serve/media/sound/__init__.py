"""Sound of a prompt: wav and mp3 of strangers in, samples out."""

"""Files in a prompt: read in processes of their own, and shown to the model as text."""

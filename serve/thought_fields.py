"""The names under which an assistant's message has what the model thought."""

# The most usual one first: templates look for one of them, clients send back another.
THOUGHTS = ("reasoning_content", "reasoning", "thinking")

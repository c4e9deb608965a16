"""What fields about thoughts are called, and what levels of effort come to. Knows no model."""

# Under which an assistant's message has what the model thought, the most usual name first:
# templates look for one of them, clients send back another.
THOUGHTS = ("reasoning_content", "reasoning", "thinking")

# Level of effort → tokens that may be thought, where nobody has said otherwise.
REASONING_BUDGETS: dict[str, int] = {
    "minimal": 128,
    "low": 512,
    "medium": 2_048,
    "high": 8_192,
    "xhigh": 32_768,
}

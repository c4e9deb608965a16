"""How long-winded answers are to be, in words, for templates that have no variable for it."""

# The variable of templates that have one.
VERBOSITY = "verbosity"
_SENTENCES = {
    "low": "Be brief: answer in as few words as the question allows.",
    "high": "Answer at length: explain, and give details and examples.",
}


def said_in_words(verbosity: str | None) -> str:
    """The sentence for the model; "" where nothing is to be different."""
    return _SENTENCES.get(verbosity or "", "")

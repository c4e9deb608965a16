"""What is searched for: the user's own words, in so many as search engines take."""

import re
from collections.abc import Sequence

from serve.search.cut import cut

MOST_CHARACTERS = 400
# "And in winter?" says little without what was asked before it.
_SHORT_WORDS = 4
_SHORT_CHARACTERS = 30
_SENTENCE = re.compile(r"[^.!?…。！？\n]+[.!?…。！？\n]*")
_LOOK_WITHIN = 20_000


def query_of(said: Sequence[str]) -> str:
    """The query of a conversation.

    It is the last message. One of at most four words and thirty characters, such as "And in
    winter?", comes after the message before it. Of a message that is too long it is the questions,
    if it asks any, else the beginning.

    Args:
        said: the texts of the user's messages, in order.

    Returns:
        one line of at most 400 characters; "" if nothing was said.
    """
    texts = [text for text in said if text.strip()][-2:]
    if not texts:
        return ""
    last = _bounded(texts[-1], MOST_CHARACTERS)
    short = len(last.split()) <= _SHORT_WORDS and len(last) <= _SHORT_CHARACTERS
    if not short or len(texts) == 1:
        return last
    return f"{_bounded(texts[0], MOST_CHARACTERS - len(last) - 1)} {last}"


def _bounded(text: str, most: int) -> str:
    text = text.strip()[:_LOOK_WITHIN]
    line = " ".join(text.split())
    if len(line) > most:
        asked = (each for each in _SENTENCE.findall(text) if "?" in each or "？" in each)
        questions = " ".join(" ".join(asked).split())
        return cut(questions or line, most)
    return line

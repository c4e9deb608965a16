"""Texts in passages: what is found and shown of a document."""

import re
from collections.abc import Iterator

_MOST_WORDS = 150
_LEAST_WORDS = 70
# Of scripts that write no spaces a word is a paragraph.
_MOST_CHARACTERS = 1200
_WORD = re.compile(r"\S+")
_SENTENCE_ENDS = (".", "!", "?", "…", ":", "。", "！", "？")


def passages(text: str) -> Iterator[str]:
    """The passages of a text, in order, without white space around them.

    Each has 150 words at most. It ends at the last paragraph's, else sentence's, else word's end
    that leaves it 70 words.
    """
    words: list[tuple[int, int]] = []
    for word in _pieces(text):
        if words and (len(words) == _MOST_WORDS or word[1] - words[0][0] > _MOST_CHARACTERS):
            count = _best_end(text, words)
            yield text[words[0][0] : words[count - 1][1]]
            words = words[count:]
        words.append(word)
    if words:
        yield text[words[0][0] : words[-1][1]]


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    for word in _WORD.finditer(text):
        start, end = word.span()
        for at in range(start, end, _MOST_CHARACTERS):
            yield at, min(end, at + _MOST_CHARACTERS)


def _best_end(text: str, words: list[tuple[int, int]]) -> int:
    """After how many words."""
    after_sentence = 0
    for count in range(len(words) - 1, min(_LEAST_WORDS, len(words) // 2) - 1, -1):
        end = words[count - 1][1]
        if "\n\n" in text[end : words[count][0]]:
            return count
        if not after_sentence and text[end - 1] in _SENTENCE_ENDS:
            after_sentence = count
    return after_sentence or len(words)

"""Letters without their case, and where words begin and end.

Both are told character by character: what a text comes in pieces as changes nothing.
"""

import unicodedata

# Scripts that are written without spaces: any of their characters may begin a word.
_UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007)),
    *((0x3021, 0x3029), (0x3031, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),
    *((0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x3FFFF)),
)


class _Folded(dict[int, str]):
    """Code points to the one character that stands for all cases of theirs."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character.isspace():
            folded = " "
        else:
            # What folds to several characters stands for itself: places stay what they are.
            forms = (character.casefold(), character.lower())
            folded = next((form for form in forms if len(form) == 1), character)
        return self.setdefault(code, folded)


class _OfWords(dict[str, bool]):
    """Characters to whether they are part of words."""

    def __missing__(self, character: str) -> bool:
        code = ord(character)
        spaced = not any(first <= code <= last for first, last in _UNSPACED)
        of_words = character == "_" or unicodedata.category(character)[0] in "LMN"
        return self.setdefault(character, spaced and of_words)


_FOLDED, _OF_WORDS = _Folded(), _OfWords()


def folded(text: str) -> str:
    """The text without case, all white space as spaces; as long as it was."""
    return text.translate(_FOLDED)


def border(before: str, after: str) -> bool:
    """Whether words may begin or end between two characters; "" is where the text has none."""
    return not (before and after and _OF_WORDS[before] and _OF_WORDS[after])

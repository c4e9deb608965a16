"""Texts and questions in the terms by which the local index finds them.

SQLite's tokenizer parts words at what is no letter or digit, lets accents be and cuts English
endings (Porter); scripts that write no spaces would be one word to it, so each of their characters
is made one.
"""

import re

_MOST_TERMS = 64
# Thai, Lao, Burmese, Khmer; kana and Han, and what of Han came later.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_CHARACTER = re.compile(f"[{_UNSPACED}]")
_TERM = re.compile(f"[{_UNSPACED}]+|[^\\W{_UNSPACED}]+")

TOKENIZER = "porter unicode61 remove_diacritics 2"


def indexed(text: str) -> str:
    """The text as the tokenizer is given it."""
    return _CHARACTER.sub(r" \g<0> ", text)


def match_expression(question: str) -> str:
    """What FTS5 is asked: whatever has one of the question's words, each in quotation marks.

    So nothing in a question is syntax. "" if it has no words.
    """
    terms = dict.fromkeys(_TERM.findall(question.lower()))
    quoted: dict[str, None] = {}
    for term in terms:
        # Of a script without spaces any two characters may be a word.
        parts = [term] if not _CHARACTER.match(term) else _pairs(term)
        quoted.update((f'"{indexed(part).strip()}"', None) for part in parts)
    return " OR ".join(list(quoted)[:_MOST_TERMS])


def _pairs(term: str) -> list[str]:
    return [term[at : at + 2] for at in range(max(1, len(term) - 1))]

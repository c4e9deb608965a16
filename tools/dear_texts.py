"""Texts that are cheap to send and may be dear to read: as JSON, to normalise, to tokenize.

Each is JSON of a string of about so many bytes. Knows nothing of where it is put.
"""

import json
import random
from collections.abc import Callable

Make = Callable[[int], str]


def again(piece: str) -> Make:
    """A string that says `piece`, as JSON spells it, again and again."""
    return lambda size: '"' + piece * max(1, size // len(piece.encode())) + '"'


def _drawn(alphabet: str) -> Make:
    def make(size: int) -> str:
        wide = len(alphabet.encode()) // len(alphabet)
        return json.dumps("".join(random.Random(1).choices(alphabet, k=size // wide)))

    return make


def _with_end(end: str) -> Make:
    return lambda size: '"' + "a" * size + end + '"'


# What any string can hold.
PLAIN: dict[str, Make] = {
    "one long word": again("a"),
    "escapes of six bytes for one": again("\\u0001"),
    "a lone surrogate at the end": _with_end("\\udc00"),
}

# What matters where a string is tokenized, matched or compiled.
TEXTS: dict[str, Make] = {
    "spaces": again(" "),
    "tabs and newlines": again("\\t\\n"),
    "NULs": again("\\u0000"),
    "backslashes and quotes": again('\\\\\\"'),
    "random letters": _drawn("abcdefghijklmnopqrstuvwxyz"),
    "digits": again("1234567890"),
    "a letter, a digit": again("a1"),
    "apostrophes": again("'s"),
    "alternating scripts": again("aя中ع"),
    "emoji of several characters": again("👩\u200d👩\u200d👧\u200d👦"),
    "emoji escaped": again("\\ud83d\\ude00"),
    "one letter, many marks": lambda size: '"a' + "\u0301" * (size // 2) + '"',
    # U+FDFA is 18 characters in NFKC, U+0390 three in NFD, U+1D160 three in each form.
    "what NFKC makes 18 times as long": again("ﷺ"),
    "what NFD makes 3 times as long": again("ΐ"),
    "what every form makes 3 times as long": again("\U0001d160"),
    # Hangul letters that composing joins, and marks in an order that has to be sorted.
    "letters to be joined": again("\u1112\u1161\u11ab"),
    "marks to be sorted": again("a\u0315\u0300\u05ae\u0316"),
    "the end of a turn, spelled": again("<|im_end|>"),
    "the start of a call, spelled": again("<tool_call>"),
    "beginnings of control tokens": again("<|im_"),
    "replacement characters": again("\ufffd"),
    "the byte order mark": again("\ufeff"),
    "brackets": again("(["),
    "alternatives": again("a|"),
}

"""Words that an answer's text never contains, however tokens cut it.

A token is banned while an answer's last bytes and its own would complete a word. What the bytes
are is for the tokenizer to say: a control token has none, and so neither begins nor breaks a word.
Knows nothing of grammars but that they are constraints too.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.tokenizer import Tokenizer
from serve.engine.types import Constraint, ConstraintError, Matcher

# Between the tokens where all are searched at once: no word in UTF-8 has this byte.
_BORDER = b"\xff"
# Masks that are kept for one request, 16 KB each where there are 128,000 tokens.
_MOST_ROWS = 256
_NOTHING_LEFT = (
    "bad_words bans every token that could continue the answer as its format asks; "
    "leave out the words that the format needs"
)


class WordBans:
    """Keeps words out of the answers of one model.

    Args:
        tokenizer: the model's.
        vocab_size: logits that the model has; may be more than the tokenizer has ids.
        end_ids: ids that end an answer, and are no part of its text.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._size = vocab_size
        self._end_ids = end_ids

    def prepare(self) -> None:
        """Sort and join the vocabulary, once: 0.3 s where there are 128,000 tokens."""
        _ = self._texts

    def constraint(self, words: Sequence[str], inner: Constraint | None) -> Constraint:
        """What holds answers to `inner`, if there is one, and keeps the words out of them.

        Takes milliseconds for each word; call it on the grammar compiler's threads.

        Args:
            words: none of them empty.
            inner: what answers must be besides.
        """
        automaton = _Automaton([word.encode() for word in words])
        return _WithoutWords(_Rows(self._texts, automaton), inner)

    @cached_property
    def _texts(self) -> "_Texts":
        known = range(min(self._size, self._tokenizer.vocab_size))
        texts = [
            b"" if token in self._end_ids else self._tokenizer.token_bytes(token) or b""
            for token in known
        ]
        return _Texts([*texts, *[b""] * (self._size - len(texts))])


class _Texts:
    """The texts of all tokens, in order and one behind the other.

    Attributes:
        of: token → its bytes.
        longest: how many the longest has.
    """

    def __init__(self, texts: list[bytes]) -> None:
        self.of = texts
        self.longest = max(map(len, texts), default=0)
        order = sorted(range(len(texts)), key=texts.__getitem__)
        self._order = np.array(order, np.uint32)
        self._sorted = [texts[token] for token in order]
        self._joined = np.frombuffer(_BORDER.join(texts), np.uint8)
        self._starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]

    def containing(self, word: bytes) -> NDArray[np.uint32]:
        """The tokens that have all of `word` in them."""
        room = len(self._joined) - len(word) + 1
        at = np.flatnonzero(self._joined[: max(0, room)] == word[0])
        for offset, byte in enumerate(word[1:], start=1):
            if not at.size:
                break
            at = at[self._joined[at + offset] == byte]
        found = np.searchsorted(self._starts, at, side="right") - 1
        return found.astype(np.uint32)

    def beginning(self, text: bytes) -> NDArray[np.uint32]:
        """The tokens that begin with `text`, whose last byte is below 255."""
        first = bisect_left(self._sorted, text)
        after = bisect_left(self._sorted, text[:-1] + bytes([text[-1] + 1]), first)
        return self._order[first:after]


class _Automaton:
    """Follows a text: after each byte, how much of which words it ends with.

    That of Aho and Corasick (1975). A state is the longest end of the text that a word begins
    with; 0 is the empty one.

    Args:
        words: in bytes. Those that contain another need not be looked for.
    """

    def __init__(self, words: Sequence[bytes]) -> None:
        kept: list[bytes] = []
        for word in sorted(set(words), key=lambda word: (len(word), word)):
            if not any(other in word for other in kept):
                kept.append(word)
        self.words = kept
        self._next: list[dict[int, int]] = [{}]
        # What is missing of each word that begins as the state does.
        self._missing: list[list[bytes]] = [[]]
        self._shorter = [0]
        for word in kept:
            self._add(word)
        self._link()

    def after(self, state: int, text: bytes) -> int | None:
        """The state after `text`; None where a word is complete."""
        for byte in text:
            while state and byte not in self._next[state]:
                state = self._shorter[state]
            state = self._next[state].get(byte, 0)
            if b"" in self._missing[state]:
                return None
        return state

    def missing(self, state: int) -> list[bytes]:
        """All that would complete a word."""
        found: list[bytes] = []
        while state:
            found += self._missing[state]
            state = self._shorter[state]
        return found

    def _add(self, word: bytes) -> None:
        state = 0
        for at, byte in enumerate(word, start=1):
            if byte not in self._next[state]:
                self._next[state][byte] = len(self._next)
                self._next.append({})
                self._missing.append([])
                self._shorter.append(0)
            state = self._next[state][byte]
            self._missing[state].append(word[at:])

    def _link(self) -> None:
        waiting = deque(self._next[0].values())
        while waiting:
            state = waiting.popleft()
            for byte, longer in self._next[state].items():
                shorter = self._shorter[state]
                while shorter and byte not in self._next[shorter]:
                    shorter = self._shorter[shorter]
                self._shorter[longer] = self._next[shorter].get(byte, 0)
                waiting.append(longer)


class _Rows:
    """The tokens that may follow each state, as masks have them; any thread may ask."""

    def __init__(self, texts: _Texts, automaton: _Automaton) -> None:
        self._texts = texts
        self._automaton = automaton
        # Whether each token has none of the words in it.
        size = len(texts.of)
        self._free = np.zeros(-(-size // 32) * 32, np.bool_)
        self._free[:size] = True
        for word in automaton.words:
            self._free[texts.containing(word)] = False
        self._kept: dict[int, NDArray[np.uint32]] = {}

    def after(self, state: int, token: int) -> int | None:
        """The state after a token; None where a word is complete."""
        return self._automaton.after(state, self._texts.of[token])

    def row(self, state: int) -> NDArray[np.uint32]:
        """One bit for each token that completes no word."""
        row = self._kept.get(state)
        if row is None:
            free = self._free.copy()
            for text in self._automaton.missing(state):
                if len(text) <= self._texts.longest:
                    free[self._texts.beginning(text)] = False
            row = np.packbits(free, bitorder="little").view(np.uint32)
            if len(self._kept) >= _MOST_ROWS:
                self._kept.clear()
            self._kept[state] = row
        return row


class _WithoutWords:
    """See `serve.engine.types.Constraint`."""

    def __init__(self, rows: _Rows, inner: Constraint | None) -> None:
        self._rows = rows
        self._inner = inner

    def matcher(self) -> Matcher:
        """Follows one choice from its beginning."""
        return _Matcher(self._rows, None if self._inner is None else self._inner.matcher())


class _Matcher:
    """One choice's way past the words; see `serve.engine.types.Matcher`."""

    def __init__(self, rows: _Rows, inner: Matcher | None) -> None:
        self._rows = rows
        self._inner = inner
        self._state = 0

    @property
    def accepting(self) -> bool:
        """Whether the choice may end."""
        return self._inner is None or self._inner.accepting

    @property
    def finished(self) -> bool:
        """Whether the choice must end."""
        return self._inner is not None and self._inner.finished

    def accept(self, token: int) -> None:
        """Go on by one sampled token; see `serve.engine.types.Matcher`."""
        if self._inner is not None:
            self._inner.accept(token)
        state = self._rows.after(self._state, token)
        if state is None:
            raise ConstraintError(f"token {token} completes one of bad_words")
        self._state = state

    def fill(self, allowed: NDArray[np.uint32]) -> None:
        """Write the bits of the tokens that may come next; see `serve.engine.types.Matcher`."""
        row = self._rows.row(self._state)
        if self._inner is None:
            allowed[:] = row
            return
        self._inner.fill(allowed)
        allowed &= row
        if not allowed.any():
            raise ConstraintError(_NOTHING_LEFT)

    def copy(self) -> "_Matcher":
        """One that goes on by itself; see `serve.engine.types.Matcher`."""
        copied = _Matcher(self._rows, None if self._inner is None else self._inner.copy())
        copied._state = self._state
        return copied

    def forced(self) -> list[int]:
        """The tokens that must come next; see `serve.engine.types.Matcher`."""
        forced = [] if self._inner is None else self._inner.forced()
        return forced[: self._free(forced)]

    def allows(self, tokens: Sequence[int]) -> int:
        """How many of the tokens could be accepted; see `serve.engine.types.Matcher`."""
        count = self._free(tokens)
        return count if self._inner is None else self._inner.allows(tokens[:count])

    def _free(self, tokens: Sequence[int]) -> int:
        """How many of the tokens complete no word."""
        state = self._state
        for count, token in enumerate(tokens):
            after = self._rows.after(state, token)
            if after is None:
                return count
            state = after
        return len(tokens)

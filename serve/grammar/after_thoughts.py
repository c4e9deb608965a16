"""What an answer must follow once the model has thought, and how long it may think.

    undecided ── opening marker ──→ thinking ── closing marker ──→ after ──→ answering
        └───────────────────────────── anything else ─────────────────────────↗

Until the closing marker has been sampled anything may be, but for the ends of a turn. When the
budget is used up the marker alone may be; then the answer's own grammar begins. Knows nothing of
what is in that, nor of families.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.tokenizer import Tokenizer
from serve.engine.types import Constraint, ConstraintError, Matcher
from serve.text.thoughts.format import Beginning

_Phase = Literal["undecided", "thinking", "closing", "after", "answering"]

# Tokens of empty lines that may stand between the closing marker and the answer.
_MOST_BLANK = 2


class ThoughtMarkers:
    """The markers of a model's thoughts in its vocabulary, and masks that have to do with them.

    Args:
        tokenizer: gives the tokens' bytes.
        vocab_size: logits that the model has.
        end_ids: ids that end a turn.
        opening: the marker before thoughts; a control token, or characters if there is none.
        closing: the one after them.

    Attributes:
        opening_id: the control token that opens thoughts, if there is one.
        closing_id: the one that closes them.
        opening: the marker's characters.
        closing: the marker's characters.
        closing_ids: the tokens that close thoughts.
        controls: all control tokens.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocab_size: int,
        end_ids: frozenset[int],
        opening: str,
        closing: str,
    ) -> None:
        self.opening_id = tokenizer.controls.get(opening)
        self.closing_id = tokenizer.controls.get(closing)
        self.opening, self.closing = opening.encode(), closing.encode()
        written = tokenizer.encode(closing, at_start=False)
        self.closing_ids = tuple(written if self.closing_id is None else [self.closing_id])
        self.controls = frozenset(tokenizer.controls.values())
        self._tokenizer = tokenizer
        self._size = vocab_size
        self._end_ids = end_ids
        self._amid: dict[bytes, NDArray[np.uint32]] = {}

    def prepare(self) -> None:
        """Look through the vocabulary; takes a second where a large one has no control tokens."""
        _ = self.thinking, self.blank, self._running_over

    def bytes_of(self, token: int) -> bytes:
        """What a token reads; nothing for a special one."""
        return self._tokenizer.token_bytes(token) or b""

    @cached_property
    def anything(self) -> NDArray[np.uint32]:
        """All tokens of the vocabulary."""
        return self._mask(range(self._size))

    @cached_property
    def thinking(self) -> NDArray[np.uint32]:
        """What may be thought: all but the ends of a turn."""
        return self.anything & ~self._mask(self._end_ids)

    @cached_property
    def blank(self) -> NDArray[np.uint32]:
        """The tokens of empty lines."""
        return self._mask(
            token
            for token in range(self._size)
            if (text := self.bytes_of(token)) and not text.strip(b"\n")
        )

    def amid(self, tail: bytes) -> NDArray[np.uint32]:
        """What may be thought after `tail`, so that no token runs over from the closing marker."""
        if self.closing_id is not None:
            return self.thinking
        begun = tail[max(0, len(tail) - len(self.closing) + 1) :]
        while not self.closing.startswith(begun):
            begun = begun[1:]
        if begun not in self._amid:
            over = [
                token
                for length in range(len(begun) + 1)
                if begun.endswith(self.closing[:length])
                for token in self._running_over.get(self.closing[length:], ())
            ]
            self._amid[begun] = self.thinking & ~self._mask(over)
        return self._amid[begun]

    @cached_property
    def _running_over(self) -> dict[bytes, list[int]]:
        """Each end of the closing marker → the tokens that complete it and go on with text."""
        ends = [self.closing[start:] for start in range(len(self.closing))]
        found: dict[bytes, list[int]] = {}
        for token in range(self._size if self.closing_id is None else 0):
            text = self.bytes_of(token)
            for end in ends:
                begins = text.startswith(end)
                whole = end == self.closing and end in text
                if (begins or whole) and text.partition(end)[2].strip(b"\n"):
                    found.setdefault(end, []).append(token)
        return found

    def _mask(self, tokens: Iterable[int]) -> NDArray[np.uint32]:
        bits = np.zeros(-(-self._size // 32) * 32, np.bool_)
        bits[list(tokens)] = True
        return np.packbits(bits, bitorder="little").view(np.uint32)


@dataclass(frozen=True, slots=True)
class AfterThoughts:
    """See `serve.engine.types.Constraint`.

    Attributes:
        markers: of the model.
        thinking: whether the prompt has opened the thoughts; else the model may.
        budget: tokens that may be thought, the markers not counted; None for any number.
        inner: what answers must be after the thoughts, if anything.
    """

    markers: ThoughtMarkers
    thinking: bool
    budget: int | None = None
    inner: Constraint | None = None

    def matcher(self) -> Matcher:
        """Follows one choice from its beginning."""
        inner = None if self.inner is None else self.inner.matcher()
        return _Matcher(self, inner)


def held_after_thoughts(
    markers: ThoughtMarkers | None,
    beginning: Beginning,
    budget: int | None,
    inner: Constraint | None,
) -> Constraint | None:
    """What holds answers to `inner` once the model has thought; None where any text will do.

    Args:
        markers: of the model; None for one without thoughts.
        beginning: where answers stand when the model begins.
        budget: see `AfterThoughts`.
        inner: the same.
    """
    if markers is None or beginning == "answering":
        return inner
    if inner is None and budget is None:
        return None
    return AfterThoughts(markers, beginning == "thinking", budget, inner)


class _Matcher:
    """One choice's way through thoughts and answer; see `serve.engine.types.Matcher`."""

    def __init__(self, constraint: AfterThoughts, inner: Matcher | None) -> None:
        self._markers = constraint.markers
        self._constraint = constraint
        self._inner = inner
        self._phase: _Phase = "undecided"
        self._spent = 0
        # The latest bytes, as far as they matter to finding a marker.
        self._tail = b""
        # Tokens of the closing marker that are still to come, or blank ones that may.
        self._left = 0
        if constraint.thinking:
            self._think()

    @property
    def accepting(self) -> bool:
        """Whether the choice may end."""
        answers = self._phase not in ("thinking", "closing")
        return answers and (self._inner is None or self._inner.accepting)

    @property
    def finished(self) -> bool:
        """Whether the choice must end."""
        answers = self._phase in ("after", "answering")
        return answers and self._inner is not None and self._inner.finished

    def accept(self, token: int) -> None:
        """Go on by one sampled token; see `serve.engine.types.Matcher`."""
        match self._phase:
            case "undecided":
                self._decide(token)
            case "thinking":
                self._think_on(token)
            case "closing":
                if token != self._forced()[0]:
                    raise ConstraintError(f"token {token} is thought beyond the budget")
                self._left -= 1
                if not self._left:
                    self._close()
            case "after":
                if self._is_blank(token):
                    self._left -= 1
                    return
                self._answer(token)
            case "answering":
                self._answer(token)

    def fill(self, allowed: NDArray[np.uint32]) -> None:
        """Write the bits of the tokens that may come next; see `serve.engine.types.Matcher`."""
        markers = self._markers
        if self._phase == "thinking":
            allowed[:] = markers.amid(self._tail)
            return
        if self._phase == "closing":
            allowed[:] = 0
            _add(allowed, self._forced()[0])
            return
        if self._inner is None:
            allowed[:] = markers.anything
            return
        self._inner.fill(allowed)
        if self._phase == "undecided" and markers.opening_id is not None:
            _add(allowed, markers.opening_id)
        elif self._phase == "after" and self._left:
            allowed |= markers.blank

    def copy(self) -> "_Matcher":
        """One that goes on by itself; see `serve.engine.types.Matcher`."""
        copied = _Matcher(self._constraint, None if self._inner is None else self._inner.copy())
        copied._phase, copied._spent = self._phase, self._spent
        copied._tail, copied._left = self._tail, self._left
        return copied

    def forced(self) -> list[int]:
        """The tokens that must come next; see `serve.engine.types.Matcher`."""
        if self._phase == "closing":
            return self._forced()
        answers = self._phase == "answering" or (self._phase == "after" and not self._left)
        return self._inner.forced() if answers and self._inner is not None else []

    def allows(self, tokens: Sequence[int]) -> int:
        """How many of the tokens could be accepted; see `serve.engine.types.Matcher`."""
        return self.copy().follow(tokens)

    def follow(self, tokens: Sequence[int]) -> int:
        """Go on by as many of the tokens as can be accepted; how many."""
        for count, token in enumerate(tokens):
            if self._phase == "answering":
                rest = tokens[count:]
                return count + (len(rest) if self._inner is None else self._inner.allows(rest))
            if not self._takes(token):
                return count
            self.accept(token)
        return len(tokens)

    def _takes(self, token: int) -> bool:
        """Whether a token could be next, before the answer has begun."""
        match self._phase:
            case "thinking":
                word, bit = divmod(token, 32)
                return bool(self._markers.amid(self._tail)[word] >> np.uint32(bit) & 1)
            case "closing":
                return token == self._forced()[0]
            case "undecided" if token == self._markers.opening_id:
                return True
            case "after" if self._is_blank(token):
                return True
            case _:
                return self._inner is None or self._inner.allows([token]) == 1

    def _decide(self, token: int) -> None:
        markers = self._markers
        if token == markers.opening_id:
            self._think()
            return
        self._answer(token)
        if token in markers.controls:
            return
        self._tail += markers.bytes_of(token)
        words = self._tail.lstrip()
        in_words = markers.opening_id is None
        if in_words and words.startswith(markers.opening):
            self._think(words[len(markers.opening) :])
        elif not words or (in_words and markers.opening.startswith(words)):
            self._phase = "undecided"

    def _think(self, tail: bytes = b"") -> None:
        self._phase, self._tail = "thinking", tail
        self._check_budget()

    def _think_on(self, token: int) -> None:
        markers = self._markers
        if token == markers.closing_id:
            self._close()
            return
        if markers.closing_id is None:
            self._tail += markers.bytes_of(token)
            if markers.closing in self._tail:
                self._close()
                return
            self._tail = self._tail[-len(markers.closing) :]
        self._spent += 1
        self._check_budget()

    def _check_budget(self) -> None:
        if self._spent == self._constraint.budget:
            self._phase, self._left = "closing", len(self._markers.closing_ids)

    def _close(self) -> None:
        self._inner = self._fresh()
        self._phase = "answering" if self._inner is None else "after"
        self._left = _MOST_BLANK

    def _answer(self, token: int) -> None:
        if self._inner is not None:
            self._inner.accept(token)
        self._phase = "answering"

    def _forced(self) -> list[int]:
        ids = self._markers.closing_ids
        return list(ids[len(ids) - self._left :])

    def _is_blank(self, token: int) -> bool:
        text = self._markers.bytes_of(token)
        return bool(self._left and text) and not text.strip(b"\n")

    def _fresh(self) -> Matcher | None:
        inner = self._constraint.inner
        return None if inner is None else inner.matcher()


def _add(allowed: NDArray[np.uint32], token: int) -> None:
    allowed[token >> 5] |= np.uint32(1) << np.uint32(token & 31)

"""Random walks over the masks of a grammar, with a small byte-level vocabulary."""

import random
from collections.abc import Iterator, Mapping, Sequence

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

END = "<|end_of_turn|>"


class Vocabulary:
    """Every byte, some longer pieces, some control tokens, and ends of turn.

    Attributes:
        controls: spelling → id of the control tokens.
        ends: ids that end a turn.
    """

    def __init__(
        self, controls: Sequence[str], pieces: Sequence[str] = (), ends: Sequence[str] = (END,)
    ) -> None:
        self.tokens = [bytes([byte]) for byte in range(256)] + [text.encode() for text in pieces]
        first = len(self.tokens)
        spellings = [*dict.fromkeys([*controls, *ends])]
        self.tokens += [spelling.encode() for spelling in spellings]
        ids = {spelling: first + number for number, spelling in enumerate(spellings)}
        self.controls: Mapping[str, int] = {name: ids[name] for name in controls}
        self.ends = [ids[end] for end in ends]
        self.special_token_ids = list(ids.values())
        self.eos_token_id = self.ends[0]
        self.bos_token_id = None
        self.spellings = {id_: spelling for spelling, id_ in ids.items()}
        self.llguidance = LLTokenizer(TokenizerWrapper(self), eos_token=self.ends)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def matcher(vocabulary: Vocabulary, grammar: str) -> LLMatcher:
    made = LLMatcher(vocabulary.llguidance, grammar)
    assert not made.is_error(), f"{made.get_error()}\n{grammar}"
    return made


def walk(
    vocabulary: Vocabulary, grammar: LLMatcher, rng: random.Random, longest: int = 600
) -> tuple[list[int], bool]:
    """Tokens drawn from the masks, and whether the turn ended.

    A fresh byte is as likely as any, but what is no text (control tokens, pieces) and what closes
    a string is preferred, so that walks reach the calls and end.
    """
    tokens: list[int] = []
    grammar.reset()
    favoured = {ord('"'), ord("}"), ord("]"), *range(256, len(vocabulary.tokens))}
    for _ in range(longest):
        mask = grammar.compute_logit_bias()
        allowed = [token for token, bit in enumerate(mask) if bit]
        assert allowed, f"nothing may follow {render(vocabulary, tokens)!r}"
        liked = [token for token in allowed if token in favoured]
        token = rng.choice(liked if liked and rng.random() < 0.25 else allowed)
        if token in vocabulary.ends:
            return tokens, True
        assert grammar.consume_token(token)
        tokens.append(token)
    return tokens, False


def items(vocabulary: Vocabulary, tokens: Sequence[int]) -> Iterator[tuple[bool, str]]:
    """What a parser is fed: (is it a control token, text or spelling)."""
    held = b""
    for token in tokens:
        if token in vocabulary.spellings:
            yield False, held.decode()
            yield True, vocabulary.spellings[token]
            held = b""
        else:
            held += vocabulary.tokens[token]
    yield False, held.decode(errors="ignore")


def render(vocabulary: Vocabulary, tokens: Sequence[int]) -> str:
    return "".join(text for _, text in items(vocabulary, tokens))

"""Schemas drawn at random, and answers to them by a model that knows nothing.

Whatever is said so far can be finished, and what is finished is valid.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from support.random_schemas import SchemaMaker
from support.schemas import validate

from sampling.params import SamplingParams
from serve.engine.types import Constraint
from serve.grammar.compiler import GrammarCompiler
from serve.grammar.schema import SchemaError, compile_schema
from serve.offline import LocalModel

# As vocabularies have them: parts of several tokens of JSON, of escapes, and of characters.
PIECES = [
    *(b'":', b'","', b'",', b'{"', b'"}', b'"]', b'{"a', b'"a"', b"ab", b'b"', b'":"', b'":{"'),
    *(b'\\"', b"\\u", b"\\u0061", b"\\u00", b"\\\\", b"\\n", b'"\\', b"61", b"00", b"[]", b"{}"),
    *(b"true", b"null", b"fal", b"se", b"-1", b"0.", b"e1", b"  ", b"\n", b'":[{"', b'"}}', b"}}"),
    *("é".encode(), "😀".encode()[:2], "\u1111".encode(), b"x-", b"foo", b"abc", b"010"),
    *(b"2024-", b"T0", b":00", b"://", b"@a.b", b"aa", b".1"),
]
END = 256
VOCABULARY: list[bytes | None] = [*(bytes([byte]) for byte in range(256)), None, *PIECES]
# What ends objects and arrays, what ends strings, and what these may have to say before that.
BRACKETS, QUOTE = [*b"}]", END], [*b'"']
HELPFUL = [
    *b"019abfoxu%~:/.@-\\",
    *"éᄑ😀".encode(),
    *(VOCABULARY.index(piece) for piece in ("é".encode(), b'\\"', b"ab", b'b"', b"foo", b"x-")),
]
MARKS = np.array([bool(set(token or b"") & set(b'"\\')) for token in VOCABULARY])

# Tokens after which an answer is brought to its end, and those that this may take, in so many
# tries: what branches can grow on the way.
FREE, CLOSED, TRIES = 100, 1_500, 50


class Pieces:
    """Bytes, an end, and pieces."""

    vocab_size = len(VOCABULARY)
    controls = {"<|end|>": END}  # noqa: RUF012

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes | None:
        return VOCABULARY[token]

    def token_text(self, token: int) -> str:
        return str(VOCABULARY[token])


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(Pieces(), len(VOCABULARY), frozenset([END]))


@dataclass(frozen=True)
class Model:
    """Logits that are the same for every token of an answer, at temperature 2."""

    weights: NDArray[np.float64]
    rng: random.Random

    @classmethod
    def drawn(cls, rng: random.Random) -> "Model":
        """With a bias towards quotes and backslashes."""
        logits = np.array([rng.gauss(0, 3) for _ in VOCABULARY])
        return cls(np.exp((logits + 4 * MARKS) / 2), rng)

    def close(self, allowed: NDArray[np.bool_]) -> int:
        """A token that leads towards an end, if there is one."""
        for wanted in (BRACKETS, QUOTE, HELPFUL):
            fitting = [token for token in wanted if allowed[token]]
            if fitting and self.rng.random() < 0.9:
                return self.rng.choice(fitting)
        return self.rng.choice(np.flatnonzero(allowed).tolist())

    def choose(self, allowed: NDArray[np.bool_]) -> int:
        """A token by their weights."""
        sums = np.cumsum(self.weights * allowed)
        return int(np.searchsorted(sums, self.rng.random() * sums[-1], side="right"))


def answer_of(constraint: Constraint, model: Model) -> bytes:
    """An answer by the model, which after a while is led to its end.

    Raises:
        ConstraintError: what has been said so far cannot be finished.
        AssertionError: nor can it in so many tries.
    """
    said: list[int] = []
    finished = go_on(constraint, said, model.choose, FREE)
    for _ in range(TRIES):
        if finished:
            break
        del said[FREE:]
        finished = go_on(constraint, said, model.close, CLOSED)
    answer = b"".join(VOCABULARY[token] or b"" for token in said)
    assert finished, answer[-200:]
    return answer


def go_on(
    constraint: Constraint, said: list[int], choose: Callable[[NDArray[np.bool_]], int], most: int
) -> bool:
    """Say up to `most` tokens more; whether the answer is finished then."""
    matcher, words = constraint.matcher(), np.zeros(-(-len(VOCABULARY) // 32), np.uint32)
    for token in said:
        matcher.accept(token)
    for _ in range(most):
        matcher.fill(words)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")
        allowed = bits[: len(VOCABULARY)].astype(bool)
        assert allowed.any(), said
        token = choose(allowed)
        if token == END:
            return True
        matcher.accept(token)
        said.append(token)
        if matcher.finished:
            return True
    return False


def search(compiler: GrammarCompiler, seed: int, schemas: int) -> None:
    """Draw schemas, and answer those that are taken."""
    rng = random.Random(seed)
    maker, taken = SchemaMaker(rng), 0
    for _ in range(schemas):
        schema = maker.schema()
        try:
            constraint = compile_schema(compiler.begin(), schema, strict=True)
        except SchemaError:
            continue
        taken += 1
        for _ in range(4):
            try:
                validate(schema, answer_of(constraint, Model.drawn(rng)))
            except Exception as error:
                error.add_note(json.dumps(schema))
                raise
    assert taken > 0.6 * schemas


def test_every_answer_can_be_finished_and_then_is_valid(compiler: GrammarCompiler) -> None:
    search(compiler, seed=1, schemas=150)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_so_it_is_for_many_schemas(compiler: GrammarCompiler, seed: int) -> None:
    """Two minutes' search."""
    search(compiler, seed, schemas=1_500)


@pytest.mark.slow
def test_so_it_is_of_answers_that_the_engine_draws() -> None:
    rng = random.Random(10)
    maker, finished = SchemaMaker(rng), 0
    with LocalModel.load(rows=16, context=512) as model:
        pieces = (model.tokenizer.token_bytes(token) for token in range(model.tokenizer.vocab_size))
        marks = [token for token, piece in enumerate(pieces) if set(piece or b"") & set(b'"\\')]
        params = SamplingParams(temperature=2.0, logit_bias=tuple((mark, 4.0) for mark in marks))
        while finished < 400:
            schema = maker.schema()
            format_ = {"name": "drawn", "schema": schema, "strict": True}
            try:
                (answer,) = model.generate(
                    [[{"role": "user", "content": "Go on."}]],
                    params,
                    n=16,
                    max_tokens=60,
                    response_format={"type": "json_schema", "json_schema": format_},
                    schema_in_prompt=False,
                )
            except ValueError:  # Refused.
                continue
            for choice in answer.choices:
                if choice.finish_reason == "stop":
                    finished += 1
                    validate(schema, choice.text)

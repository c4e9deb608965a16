"""`response_format` of scripts: checked and compiled as a request's is.

Knows nothing of prompts or answers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from model.tokenizer import Tokenizer
from serve.api.asking.answer_schema import AnswerSchema, answer_schema
from serve.api.asking.validation import first_fault
from serve.api.wire.faults import path_of
from serve.api.wire.response_format import ResponseFormat
from serve.engine.types import Constraint
from serve.grammar.compiler import GrammarCompiler
from serve.grammar.schema import SchemaError, compile_schema

_FORMAT: TypeAdapter[ResponseFormat] = TypeAdapter(ResponseFormat)


class Formats:
    """Compiles formats for one model.

    Args:
        tokenizer: the model's.
        vocab_size: logits that the model has.
        end_ids: ids that end a turn.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, end_ids: frozenset[int]) -> None:
        self._vocab_size = vocab_size
        self._compiler = GrammarCompiler(tokenizer, vocab_size, end_ids)

    def schema(self, response_format: Mapping[str, object]) -> AnswerSchema | None:
        """What a format asks for, if not just text.

        Raises:
            ValueError: it is malformed.
        """
        try:
            return answer_schema(_FORMAT.validate_python(dict(response_format)))
        except ValidationError as error:
            raise ValueError(f"response_format: {first_fault(error).message}") from error

    def constraint(self, schema: AnswerSchema) -> Constraint:
        """What holds answers to a schema.

        Raises:
            ValueError: the schema is malformed, too large, or cannot be enforced.
        """
        try:
            return compile_schema(self._compiler.begin(), schema.schema, strict=schema.strict)
        except SchemaError as error:
            at = f" at '{path_of(error.path)}'" if error.path else ""
            raise ValueError(f"response_format: invalid schema{at}: {error}") from error

    def allowed(self, constraint: Constraint, tokens: Sequence[int]) -> NDArray[np.bool_]:
        """Which tokens may be sampled at each place of an answer, one row for each.

        Raises:
            ConstraintError: the answer does not follow the constraint.
        """
        matcher = constraint.matcher()
        words = np.zeros(-(-self._vocab_size // 32), np.uint32)
        rows: list[NDArray[np.bool_]] = []
        for token in tokens:
            matcher.fill(words)
            bits = np.unpackbits(words.view(np.uint8), bitorder="little")
            rows.append(bits[: self._vocab_size].astype(np.bool_))
            matcher.accept(token)
        return np.array(rows, np.bool_).reshape(len(tokens), self._vocab_size)

"""Schemas drawn at random, of every keyword that is enforced, with names that are hard to spell."""

import random
from collections.abc import Callable
from typing import Any

NAMES = (
    *("a", "ab", "abc", "b", "x y", "1", "u", "/", "a/b", "~0", "%41"),
    *("ᄑ", "é", "😀", '"', 'a"b', "\\", "\\u0061", "a\n"),
)
_TEXTS = (*NAMES, "", "foo", "\n", "</s>", "\u0007", "\u007f")
_PATTERNS = ("^a+$", "^[a-z]{2,4}$", "ab", r"^\\", '"', "^(foo|bar)$", r"^\d{3}$", "é", "^.$", "^$")
_NAME_PATTERNS = ("^a", "^x-", "b$", "^[a-z]{2}$", r"^\\", '"')
_FORMATS = ("date", "uuid", "ipv4", "email", "time", "hostname", "date-time", "ipv6", "uri")
_TYPES = ("null", "boolean", "integer", "string", "array", "object")


class SchemaMaker:
    """Draws schemas.

    Args:
        rng: where from.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._defs: tuple[str, ...] = ()
        self._leaves: list[Callable[[], Any]] = [
            *(self._string, self._integer, self._number, self._const, self._enum),
            lambda: {"type": "boolean"},
            lambda: {"type": "null"},
            lambda: rng.choice([{}, True, {"type": "object"}]),
            lambda: {"type": rng.sample(_TYPES, 2)},
        ]

    def schema(self) -> dict[str, Any]:
        """A whole schema."""
        self._defs = ("p", "q") if self._maybe(0.3) else ()
        whole = self._inner(3, alone=False)
        if not isinstance(whole, dict):
            whole = {}
        if self._defs:
            whole["$defs"] = {name: self._inner(2, alone=False) for name in self._defs}
        return whole

    def _maybe(self, chance: float) -> bool:
        return self._rng.random() < chance

    def _inner(self, depth: int, *, alone: bool = True) -> Any:
        """A schema that stands in another; `alone` if nothing else bears on the same value.

        A reference that does not stand alone could go in circles without a value in between.
        """
        if alone and self._defs and self._maybe(0.2):
            return {"$ref": f"#/$defs/{self._rng.choice(self._defs)}"}
        if depth == 0 or self._maybe(0.4):
            return self._rng.choice(self._leaves)()
        kind = self._rng.choice(("object", "object", "object", "array", "anyOf", "allOf"))
        if kind == "object":
            return self._object(depth - 1)
        if kind == "array":
            return self._array(depth - 1)
        return {
            kind: [self._inner(depth - 1, alone=False) for _ in range(self._rng.randrange(1, 4))]
        }

    def _string(self) -> Any:
        schema: dict[str, Any] = {"type": "string"}
        if self._maybe(0.2):
            schema["minLength"] = self._rng.randrange(4)
        if self._maybe(0.3):
            schema["maxLength"] = self._rng.randrange(3, 6)
        if self._maybe(0.3):
            schema["pattern"] = self._rng.choice(_PATTERNS)
        elif self._maybe(0.1):
            schema["format"] = self._rng.choice(_FORMATS)
        return schema

    def _integer(self) -> Any:
        schema: dict[str, Any] = {"type": "integer"}
        if self._maybe(0.5):
            schema["minimum"] = self._rng.randrange(-20, 20)
        if self._maybe(0.5):
            schema["maximum"] = self._rng.randrange(schema.get("minimum", -30), 50)
        if self._maybe(0.2):
            schema["multipleOf"] = self._rng.choice((2, 3, 5, 7))
        return schema

    def _number(self) -> Any:
        schema: dict[str, Any] = {"type": "number"}
        if self._maybe(0.5):
            name = self._rng.choice(("minimum", "exclusiveMinimum"))
            schema[name] = self._rng.choice((0, -1.5, -1, 0.5, 3, 0.001))
        if self._maybe(0.5):
            name = self._rng.choice(("maximum", "exclusiveMaximum"))
            schema[name] = self._rng.choice((3.5, 10, 100.25))
        return schema

    def _const(self) -> Any:
        return {"const": self._value(2)}

    def _enum(self) -> Any:
        return {"enum": [self._value(2) for _ in range(self._rng.randrange(1, 5))]}

    def _value(self, depth: int) -> Any:
        kind = self._rng.randrange(6 if depth else 4)
        if kind == 0:
            return self._rng.choice((None, True, False))
        if kind == 1:
            return self._rng.choice((0, -5, 42, 0.5, -1.25, 1e10))
        if kind in (2, 3):
            return self._rng.choice(_TEXTS)
        inner = [self._value(depth - 1) for _ in range(self._rng.randrange(3))]
        return inner if kind == 4 else {self._rng.choice(NAMES): each for each in inner}

    def _array(self, depth: int) -> Any:
        schema: dict[str, Any] = {"type": "array"}
        if self._maybe(0.7):
            schema["items"] = self._inner(depth)
        if self._maybe(0.3):
            schema["prefixItems"] = [self._inner(depth) for _ in range(self._rng.randrange(1, 3))]
        if self._maybe(0.3):
            schema["minItems"] = self._rng.randrange(3)
        if self._maybe(0.4):
            schema["maxItems"] = self._rng.randrange(schema.get("minItems", 0), 5)
        return schema

    def _object(self, depth: int) -> Any:
        schema: dict[str, Any] = {"type": "object"}
        names = self._rng.sample(NAMES, self._rng.randrange(5))
        required = [name for name in names if self._maybe(0.5)]
        if names:
            schema["properties"] = {
                name: False if self._maybe(0.03) else self._inner(depth) for name in names
            }
        if self._maybe(0.1):
            required.append(self._rng.choice(NAMES))
        if required:
            schema["required"] = required
        if self._maybe(0.8):
            schema["additionalProperties"] = self._maybe(0.5) and self._inner(depth)
        if self._maybe(0.2):
            schema["patternProperties"] = {self._rng.choice(_NAME_PATTERNS): self._inner(depth)}
        if self._maybe(0.1):
            schema["minProperties"] = self._rng.randrange(4)
        if self._maybe(0.1):
            schema["maxProperties"] = self._rng.randrange(4)
        return schema

"""Validators that the shapes are put together from, beyond what pydantic has.

Each raises `fault(...)`. Know nothing of particular fields.
"""

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeGuard, cast

from pydantic import BeforeValidator, Discriminator, WithJsonSchema

from serve.api.wire.faults import TAG, echo, fault


def later(*neutral: object) -> tuple[BeforeValidator, WithJsonSchema]:
    """A field that is not built yet: only null and `neutral` values pass.

    Unpack into `Annotated[object, *later(False)]`.
    """
    allowed = (None, *neutral)

    def check(value: object) -> object:
        for choice in allowed:
            if _same(value, choice):
                return value
        names = " or ".join(echo(choice) for choice in allowed)
        raise fault(
            "unsupported_parameter",
            f"This server does not honour it yet: leave it out, or send {names}.",
        )

    return BeforeValidator(check), WithJsonSchema({"enum": list(allowed)})


def _same(value: object, choice: object) -> bool:
    numbers = (int, float)
    if isinstance(value, bool) or isinstance(choice, bool):
        return value is choice
    if isinstance(value, numbers) and isinstance(choice, numbers):
        return value == choice
    return type(value) is type(choice) and value == choice


def kind(key: str, allowed: Sequence[str], unsupported: Sequence[str] = ()) -> BeforeValidator:
    """An object whose member `key` says what it is; `unsupported` kinds are refused by name.

    A kind that nobody knows is a fault of the member; one that this server does not take is a
    fault of the object.
    """
    check_name = _name_check(allowed, unsupported, at=key)

    def check(value: object) -> object:
        if not isinstance(value, dict):
            raise fault("wrong_type", expected="an object")
        fields = cast("dict[str, object]", value)
        if key not in fields:
            raise fault("missing_required_parameter", at=key)
        check_name(fields[key])
        return fields

    return BeforeValidator(check)


_DECIMAL = re.compile(r"-?[0-9]{1,18}")


def from_text(value: object) -> object:
    """A whole number that an address or a form can only write as text."""
    is_number = isinstance(value, str) and _DECIMAL.fullmatch(value)
    return int(value) if is_number else value  # pyright: ignore[reportArgumentType]


def empty_is_none(value: object) -> object:
    """An empty array as null, where both ask for nothing."""
    return None if value == [] else value


def one_of(allowed: Sequence[str]) -> BeforeValidator:
    """A string out of a list."""
    check_name = _name_check(allowed, (), at="")

    def check(value: object) -> object:
        if value is not None:
            check_name(value)
        return value

    return BeforeValidator(check)


def _name_check(
    allowed: Sequence[str], unsupported: Sequence[str], *, at: str
) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, str):
            raise fault("wrong_type", at=at, expected="a string")
        if value in unsupported:
            raise fault(
                "unsupported_parameter",
                f"This server does not take {echo(value)} yet. Supported values are: "
                f"{_listed(allowed)}.",
            )
        if value not in allowed:
            raise fault(
                "invalid_value",
                f"Invalid value: {echo(value)}. Supported values are: {_listed(allowed)}.",
                at=at,
            )

    return check


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return ", ".join(quoted[:-1]) + f", and {quoted[-1]}"


# One spelling for each id, so that no two keys of an object name the same token.
_TOKEN_ID = re.compile(r"0|[1-9][0-9]{0,9}")


def token_id(key: object) -> int:
    """A token id as the keys of a JSON object spell it."""
    if _is_token_id(key):
        return int(key)
    raise fault(
        "invalid_value",
        f"Invalid key: {echo(key)}. Keys must be ids of the model's vocabulary: integers from 0 "
        "on, in decimal digits without sign or leading zeros.",
    )


def _is_token_id(key: object) -> TypeGuard[str]:
    return isinstance(key, str) and _TOKEN_ID.fullmatch(key) is not None


def to_first_strange_key(value: object) -> object:
    """An object up to its first key that is no token id; pydantic would report each of them."""
    if isinstance(value, dict):
        members = cast("dict[object, object]", value)
        for place, key in enumerate(members, start=1):
            if not _is_token_id(key):
                return dict(islice(members.items(), place))
    return cast("object", value)


def tag_of(key: str) -> Discriminator:
    """Chooses the union branch tagged with the value of member `key`; `kind` has checked it."""

    def choose(value: Any) -> str:
        return TAG + str(value[key])

    return Discriminator(choose)


def string_or_array(of: str) -> tuple[Discriminator, BeforeValidator]:
    """Chooses between the branches tagged `string` and `array`. Unpack into `Annotated`."""

    def choose(value: object) -> str:
        return TAG + ("string" if isinstance(value, str) else "array")

    def check(value: object) -> object:
        if not isinstance(value, str | list):
            raise fault("wrong_type", expected=expected)
        return value

    expected = f"a string or an array of {of}"
    return Discriminator(choose), BeforeValidator(check)


def string_or_object() -> tuple[Discriminator, BeforeValidator]:
    """Chooses between the branches tagged `string` and `object`. Unpack into `Annotated`."""

    def choose(value: object) -> str:
        return TAG + ("string" if isinstance(value, str) else "object")

    def check(value: object) -> object:
        if not isinstance(value, str | dict):
            raise fault("wrong_type", expected="a string or an object")
        return cast("object", value)

    return Discriminator(choose), BeforeValidator(check)


def word_or_object(
    words: Sequence[str], key: str = "", kinds: Sequence[str] = ()
) -> tuple[Discriminator, BeforeValidator]:
    """Chooses between the branch tagged `word`, and objects. Unpack into `Annotated`.

    Objects are tagged with the value of member `key`, one of `kinds`; without a key `object`.
    """
    check_kind = kind(key, kinds).func if key else None

    def choose(value: Any) -> str:
        if isinstance(value, str):
            return TAG + "word"
        return TAG + (str(value[key]) if key else "object")

    def check(value: object) -> object:
        if isinstance(value, str):
            _name_check(words, (), at="")(value)
            return value
        if not isinstance(value, dict):
            raise fault("wrong_type", expected="a string or an object")
        return cast("Any", check_kind)(value) if check_kind else cast("object", value)

    return Discriminator(choose), BeforeValidator(check)

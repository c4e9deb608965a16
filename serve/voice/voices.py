"""The voices file: which voice a name of the API means. Names that it leaves out have defaults."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from serve.voice.types import Voice

STANDARD: Mapping[str, Voice] = MappingProxyType(
    {
        name: Voice("espeak-ng", voice)
        for name, voice in {
            "alloy": "en-us",
            "ash": "en-us+m3",
            "ballad": "en",
            "cedar": "en-us+m7",
            "coral": "en-us+f2",
            "echo": "en-us+m1",
            "fable": "en-gb-x-rp",
            "marin": "en-us+f4",
            "nova": "en-us+f3",
            "onyx": "en-us+m4",
            "sage": "en+f1",
            "shimmer": "en+f5",
            "verse": "en-gb-scotland",
        }.items()
    }
)
"""The API's names, each with a voice of its own that espeak-ng brings."""

_ENGINES = ("espeak-ng", "piper")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# As espeak-ng writes them: a language, and perhaps a variant.
_ESPEAK_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\+[A-Za-z0-9_ -]+)?")
# Those that espeak-ng takes.
_SLOWEST, _FASTEST, _HIGHEST = 0.5, 2.5, 99
_KEYS: Mapping[str, tuple[str, ...]] = {
    "espeak-ng": ("engine", "voice", "speed", "pitch"),
    "piper": ("engine", "model", "speaker", "language", "speed", "steady"),
}


class VoicesFileError(ValueError):
    """A voices file that cannot be used; the message says where it is wrong."""


def read_voices(path: Path | None) -> Mapping[str, Voice]:
    """The voices by name: those of the file, before the standard ones.

    Raises:
        VoicesFileError: the file cannot be read, or holds something else.
    """
    if path is None:
        return STANDARD
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise VoicesFileError(
            f"voices {path} cannot be read ({error}); give a TOML file of voices"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise VoicesFileError(f"voices {path} is no TOML: {error}") from error
    own: dict[str, Voice] = {}
    for name, table in tables.items():
        try:
            own[name] = _voice(name, table, path.absolute().parent)
        except VoicesFileError as error:
            raise VoicesFileError(f"voices {path} {error}") from error
    return MappingProxyType({**STANDARD, **own})


def _voice(name: str, table: object, directory: Path) -> Voice:
    if not _NAME.fullmatch(name):
        raise VoicesFileError(
            f"names a voice {name!r}; up to 64 letters, digits, '_' and '-' are allowed"
        )
    if not isinstance(table, dict):
        raise VoicesFileError(f"has {name!r} outside a voice; write it below a line like [alloy]")
    return _Table(name, cast("Mapping[str, Any]", table)).voice(directory)


class _Table:
    """The checks of one voice."""

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self._name = name
        self._fields = fields

    def voice(self, directory: Path) -> Voice:
        engine = self._fields.get("engine")
        if engine not in _ENGINES:
            allowed = " and ".join(map(repr, _ENGINES))
            raise self._wrong("engine", f"{allowed} are allowed")
        if strange := [key for key in self._fields if key not in _KEYS[engine]]:
            allowed = ", ".join(_KEYS[engine])
            raise self._wrong(strange[0], f"a voice of {engine} has {allowed}")
        spoken = "language" if engine == "piper" else "voice"
        return Voice(
            engine=engine,
            voice=self._espeak_voice(spoken, needed=engine == "espeak-ng"),
            model=str(directory / self._model()) if engine == "piper" else "",
            speaker=self._speaker(),
            speed=float(self._number("speed", 1.0, _SLOWEST, _FASTEST)),
            pitch=int(self._number("pitch", 50, 0, _HIGHEST)),
            steady=self._is_steady(),
        )

    def _espeak_voice(self, key: str, *, needed: bool) -> str:
        value = self._fields.get(key, None if needed else "")
        if value == "" and not needed:
            return ""
        if not isinstance(value, str) or not _ESPEAK_VOICE.fullmatch(value):
            raise self._wrong(key, "one of espeak-ng is allowed, such as 'en-us' or 'de+f3'")
        return value

    def _model(self) -> str:
        value = self._fields.get("model")
        if not isinstance(value, str) or not value:
            raise self._wrong("model", "the path of a file is allowed, such as 'voice.onnx'")
        return value

    def _speaker(self) -> int | str:
        value = self._fields.get("speaker", 0)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self._wrong("speaker", "a number or a name is allowed")
        return value

    def _is_steady(self) -> bool:
        value = self._fields.get("steady", False)
        if not isinstance(value, bool):
            raise self._wrong("steady", "true and false are allowed")
        return value

    def _number(self, key: str, default: float, least: float, most: float) -> float:
        value = self._fields.get(key, default)
        kinds = int if isinstance(default, int) else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            kind = "whole numbers" if kinds is int else "numbers"
            raise self._wrong(key, f"{kind} from {least:g} to {most:g} are allowed")
        return value

    def _wrong(self, key: str, allowed: str) -> VoicesFileError:
        given = f"{key} = {self._fields[key]!r}" if key in self._fields else f"no {key}"
        return VoicesFileError(f"has {given} in [{self._name}]; {allowed}")

"""How the GGUF files of a model are named: llama.cpp's names of the parts that it is split into."""

import re
from typing import NamedTuple

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


class GgufName(NamedTuple):
    """What a file's name says.

    Attributes:
        stem: the model's name, which all parts share.
        part: which part the file is, from 1.
        parts: how many there are.
    """

    stem: str
    part: int = 1
    parts: int = 1


def gguf_name(file: str) -> GgufName:
    """What the name of a file, or its path, says."""
    found = _PART.fullmatch(file)
    if found is None:
        return GgufName(file.removesuffix(".gguf"))
    return GgufName(found["stem"], int(found["number"]), int(found["count"]))


def part_names(file: str) -> list[str]:
    """The files that belong together with `file`, itself among them, in their order."""
    if _PART.fullmatch(file) is None:
        return [file]
    name = gguf_name(file)
    return [
        f"{name.stem}-{number:05}-of-{name.parts:05}.gguf" for number in range(1, name.parts + 1)
    ]

"""How a model on the hub is named: `ORGANIZATION/NAME[@REVISION][:FILE.gguf]`."""

import re
from typing import NamedTuple

from model.config import CheckpointError

_FORM = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:@]+))?(?::(?P<file>.+))?", re.ASCII)
# As llama.cpp names the parts of a model that it splits: the first is 00001.
_SPLIT = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<count>\d{5})\.gguf")


class HubId(NamedTuple):
    """A model on the hub.

    Attributes:
        id: `ORGANIZATION/NAME`.
        revision: a branch, tag or commit; empty for the default branch.
        file: the GGUF file that is meant; empty for the model in the form of transformers.
    """

    id: str
    revision: str = ""
    file: str = ""


def parse_hub_id(given: str) -> HubId | None:
    """What `given` names on the hub, or None where it cannot be the name of a model there.

    Raises:
        CheckpointError: it names a file that is no GGUF file.
    """
    found = _FORM.fullmatch(given)
    if found is None:
        return None
    name = HubId(found["id"], found["revision"] or "", found["file"] or "")
    if name.file and not name.file.endswith(".gguf"):
        raise CheckpointError(
            f"{given} names {name.file} behind the colon, where a GGUF file of {name.id} belongs; "
            f"give its whole name, like {name.id}:model-Q8_0.gguf"
        )
    return name


def stem(file: str) -> str:
    """The name of a GGUF file, or of those that it is split into, without what all of them have."""
    split = _SPLIT.fullmatch(file)
    return split["name"] if split else file.removesuffix(".gguf")


def parts(file: str) -> list[str]:
    """The GGUF files that belong together with `file`, itself among them, in order."""
    split = _SPLIT.fullmatch(file)
    if split is None:
        return [file]
    count = int(split["count"])
    return [f"{split['name']}-{part:05}-of-{count:05}.gguf" for part in range(1, count + 1)]

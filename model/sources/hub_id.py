"""How a model on the hub is named: `ORGANIZATION/NAME[@REVISION][:FILE.gguf]`."""

import re
from typing import NamedTuple

from model.config import CheckpointError

_FORM = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:@]+))?(?::(?P<file>.+))?", re.ASCII)


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

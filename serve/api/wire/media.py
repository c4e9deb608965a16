"""The parts of a message that are no text: pictures, sound and files.

Shapes alone: whether the served model sees, and what is in a file, is found out where requests
are read.
"""

from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen
from pydantic import model_validator

from serve.api.wire.audio import AudioPart
from serve.api.wire.faults import fault
from serve.api.wire.files import LONGEST_FILENAME
from serve.api.wire.no_effect import CacheMark
from serve.api.wire.strict import Strict
from serve.api.wire.validators import one_of

DETAILS = ("auto", "low", "high")
# Ours are shorter; of a longer one nothing is looked up.
_LONGEST_FILE_ID = 256


class ImageUrl(Strict):
    """A picture: itself as a data URL, or where it is."""

    url: Annotated[str, MinLen(1)]
    detail: Annotated[Literal["auto", "low", "high"] | None, one_of(DETAILS)] = None


class ImagePart(Strict):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl
    cache_control: CacheMark = None


class FileContent(Strict):
    """A file: itself, or the id of one that was uploaded."""

    file_data: Annotated[str, MinLen(1)] | None = None
    file_id: Annotated[str, MinLen(1), MaxLen(_LONGEST_FILE_ID)] | None = None
    filename: Annotated[str, MaxLen(LONGEST_FILENAME)] | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "FileContent":
        if self.file_data is None and self.file_id is None:
            raise fault("missing_required_parameter", at="file_data")
        if self.file_data is not None and self.file_id is not None:
            raise fault(
                "invalid_value",
                "A file is sent as 'file_data' or named by 'file_id': send one of the two.",
                at="file_id",
            )
        return self


class FilePart(Strict):
    """A file that is shown to the model."""

    type: Literal["file"]
    file: FileContent
    cache_control: CacheMark = None


MediaPart = ImagePart | AudioPart | FilePart

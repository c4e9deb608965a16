"""What callers attach to completions."""

from typing import Annotated

from annotated_types import MaxLen

from serve.api.wire.most import Most

# The API's own bounds.
MOST_METADATA = 16
LONGEST_METADATA_KEY = 64
LONGEST_METADATA_VALUE = 512

Metadata = Annotated[
    dict[
        Annotated[str, MaxLen(LONGEST_METADATA_KEY)],
        Annotated[str, MaxLen(LONGEST_METADATA_VALUE)],
    ],
    Most(MOST_METADATA),
]

"""A JSON schema as requests carry it. What is in it is for `serve.grammar` to say."""

from typing import Annotated, Any

from serve.api.wire.most import Most

# At its top; JSON schema has some sixty. All of it is bounded in bytes, once it is read.
MOST_KEYWORDS = 1_024

JsonSchema = Annotated[dict[str, Any], Most(MOST_KEYWORDS)]

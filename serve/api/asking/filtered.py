"""Requests that say what this server's content filter keeps out."""

from collections.abc import Iterator, Sequence

from serve.api.asking.media import SEARCH, Shown
from serve.api.wire.errors import ApiError
from serve.api.wire.media import MediaPart
from serve.api.wire.messages import AssistantMessage, Message, RefusalPart, TextPart
from serve.filter.content_filter import ContentFilter
from serve.thought_fields import THOUGHTS

_NOTHING: Shown = {}


class FilteredError(ApiError):
    """A request whose text is not to be answered.

    Args:
        category: of what was found.
        param: where it is.

    Attributes:
        category: the same.
    """

    def __init__(self, category: str, param: str) -> None:
        super().__init__(
            400,
            f"Invalid '{param}': its text is of the category '{category}', which the content "
            "filter of this server keeps out; say it in another way, or leave it out.",
            code="content_filter",
            param=param,
        )
        self.category = category


def check_texts(
    messages: Sequence[Message], content_filter: ContentFilter, shown: Shown = _NOTHING
) -> None:
    """Search all that a conversation says; arguments of calls are no text.

    Args:
        messages: of the request.
        content_filter: what is kept out.
        shown: what stands for what is no text.

    Raises:
        FilteredError: at the first message or file with a match.
    """
    for param, text in texts(messages, shown):
        if (found := content_filter.found_in(text)) is not None:
            raise FilteredError(found.name, param)


def texts(messages: Sequence[Message], shown: Shown = _NOTHING) -> Iterator[tuple[str, str]]:
    """What messages and files say, each text with its path; parts as the one text that they make.

    A file's text is one of its own: nothing is put together from it and what stands beside.
    """
    for index, message in enumerate(messages):
        path, content = f"messages[{index}]", message.content
        if isinstance(content, list):
            content = "".join(map(_said, content))
        if content:
            yield f"{path}.content", content
        if isinstance(message, AssistantMessage):
            for name in ("refusal", *THOUGHTS):
                if text := getattr(message, name):
                    yield f"{path}.{name}", text
    for place, pieces in shown.items():
        # What was found is not said by whoever asks.
        if place == SEARCH:
            continue
        if text := "".join(piece for piece in pieces if isinstance(piece, str)):
            yield place, text


def _said(part: TextPart | RefusalPart | MediaPart) -> str:
    if isinstance(part, TextPart):
        return part.text
    return part.refusal if isinstance(part, RefusalPart) else ""

"""Requests that say what this server's content filter keeps out."""

from collections.abc import Iterator, Sequence

from serve.api.wire.errors import ApiError
from serve.api.wire.messages import AssistantMessage, Message, TextPart
from serve.filter.content_filter import ContentFilter
from serve.thought_fields import THOUGHTS


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


def check_texts(messages: Sequence[Message], content_filter: ContentFilter) -> None:
    """Search all that a conversation says; arguments of calls are no text.

    Raises:
        FilteredError: at the first message with a match.
    """
    for param, text in texts(messages):
        if (found := content_filter.found_in(text)) is not None:
            raise FilteredError(found.name, param)


def texts(messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
    """What messages say, each text with its path; parts as the one text that they make."""
    for index, message in enumerate(messages):
        path, content = f"messages[{index}]", message.content
        if isinstance(content, list):
            content = "".join(
                part.text if isinstance(part, TextPart) else part.refusal for part in content
            )
        if content:
            yield f"{path}.content", content
        if isinstance(message, AssistantMessage):
            for name in ("refusal", *THOUGHTS):
                if text := getattr(message, name):
                    yield f"{path}.{name}", text

"""What stands in `image_url.url`: a picture itself, or where it is."""

from dataclasses import dataclass

import httpx

from serve.media.data_url import decoded, decoded_bytes, head_of
from serve.media.errors import MediaError
from serve.media.image_kinds import ALLOWED, MEDIA_TYPES, kind_of

# A server takes no longer ones either.
_LONGEST_URL = 8_192


@dataclass(frozen=True)
class DataUrl:
    """A file in the request.

    Attributes:
        media_type: what it is said to be, in small letters.
        text: the URL.
        start: index of the first character of its base64.
    """

    media_type: str
    text: str
    start: int

    @property
    def most_bytes(self) -> int:
        """Of the file, or up to two more."""
        return decoded_bytes(self.text, self.start)

    def image(self) -> bytes:
        """The file.

        Raises:
            MediaError: it is not written in base64, or it is not what it is said to be.
        """
        try:
            data = decoded(self.text, self.start)
        except ValueError as error:
            raise MediaError(
                "the data of this URL is not valid base64 (RFC 4648, with padding and without "
                "line breaks)",
                "invalid_base64_image",
            ) from error
        kind = kind_of(data)
        if data and kind is not None and kind != MEDIA_TYPES[self.media_type]:
            raise MediaError(
                f"this URL says that its data is {self.media_type}, which it is not: "
                f"it is image/{kind}",
                "unsupported_image_media_type",
            )
        return data


@dataclass(frozen=True)
class WebUrl:
    """Where a file is.

    Attributes:
        url: absolute, of http or https, with a host and without credentials.
    """

    url: httpx.URL


def parse_address(text: str) -> DataUrl | WebUrl:
    """What a URL of a picture says.

    Raises:
        MediaError: it is not one that a picture may have.
    """
    if text[:5].lower() == "data:":
        return _data_url(text)
    return WebUrl(web_url(text))


def _data_url(text: str) -> DataUrl:
    head = head_of(text)
    if head is None or not head.is_base64 or ";" in head.declared:
        raise _no_address("this data URL is not of the form data:image/png;base64,…")
    media_type = head.declared.lower()
    if media_type not in MEDIA_TYPES:
        raise MediaError(
            f"this data URL has the media type {shortened(media_type)!r}: {ALLOWED}",
            "unsupported_image_media_type",
        )
    return DataUrl(media_type, text, head.end)


def web_url(text: str) -> httpx.URL:
    """An address of the web that may be fetched, as far as it says itself.

    Raises:
        MediaError: it may not be, or is none.
    """
    if len(text) > _LONGEST_URL:
        raise _no_address(f"this URL has more than {_LONGEST_URL:,} characters")
    try:
        url = httpx.URL(text)
        # What names of hosts may be is looked at when they are asked for.
        _ = url.host
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise _no_address(f"this is no URL: {error}") from error
    if url.scheme not in {"http", "https"}:
        raise _no_address("only URLs that begin with data:, https:// or http:// are taken")
    if not url.host:
        raise _no_address("this URL names no host")
    if url.userinfo:
        raise _no_address("this URL has a user name or a password, which are not sent to others")
    return url


def shortened(text: str) -> str:
    """What a client wrote, to be told to it."""
    return text if len(text) <= 80 else f"{text[:80]}…"


def _no_address(reason: str) -> MediaError:
    return MediaError(reason, "invalid_image_url")

"""What may stand in `image_url.url`."""

import base64

import pytest
from support.bad_images import saved, slope

from serve.media.addresses import DataUrl, WebUrl, parse_address
from serve.media.errors import MediaError

PNG = saved(slope(), "PNG")
WRITTEN = base64.b64encode(PNG).decode()


def image(url: str) -> bytes:
    address = parse_address(url)
    assert isinstance(address, DataUrl)
    assert (len(url) - url.index(",") - 1) // 4 * 3 == address.most_bytes
    return address.image()


@pytest.mark.parametrize(
    "head", ["data:image/png;base64,", "DATA:image/png;base64,", "data:IMAGE/PNG;BASE64,"]
)
def test_a_data_url_is_the_file(head: str) -> None:
    assert image(head + WRITTEN) == PNG


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/jpg"])
def test_jpeg_has_a_name_that_clients_use_too(media_type: str) -> None:
    file = saved(slope(), "JPEG")
    assert image(f"data:{media_type};base64,{base64.b64encode(file).decode()}") == file


def test_what_is_no_picture_is_left_to_whoever_decodes() -> None:
    assert image("data:image/png;base64,") == b""
    assert image("data:image/png;base64,YWJj") == b"abc"


BAD = {
    f"data:image/gif;base64,{WRITTEN}": "which it is not: it is image/png",
    f"data:image/svg+xml;base64,{WRITTEN}": "has the media type 'image/svg+xml'",
    f"data:;base64,{WRITTEN}": "has the media type ''",
    f"data:{'x' * 1000};base64,{WRITTEN}": "x…'",
    f"data:image/png,{WRITTEN}": "is not of the form",
    f"data:image/png;charset=utf-8;base64,{WRITTEN}": "is not of the form",
    f"data: image/png;base64,{WRITTEN}": "has the media type",
    f"data:image/png;base64 ,{WRITTEN}": "is not of the form",
    "data:": "is not of the form",
    f"data:image/png;base64,{WRITTEN[:-1]}": "not valid base64",
    f"data:image/png;base64,{WRITTEN[:40]}\n{WRITTEN[40:]}": "not valid base64",
    f"data:image/png;base64,{WRITTEN}AAAA=": "not valid base64",
    f"data:image/png;base64,%{WRITTEN}": "not valid base64",
    "data:image/png;base64,____": "not valid base64",
    "data:image/png;base64,ÄÄÄÄ": "not valid base64",
    "": "only URLs that begin with",
    WRITTEN: "only URLs that begin with",
    "cat.png": "only URLs that begin with",
    "//pictures.example/cat.png": "only URLs that begin with",
    "file:///etc/passwd": "only URLs that begin with",
    "ftp://pictures.example/cat.png": "only URLs that begin with",
    "http:///cat.png": "names no host",
    "https:cat.png": "names no host",
    "https://user@pictures.example/": "user name or a password",
    "https://user:word@pictures.example/": "user name or a password",
    "https://[::1/": "is no URL",
    "https://pictures.example:port/": "is no URL",
    "https://pictures.example/\n": "is no URL",
    "https://pictures.example/" + "a" * 9_000: "more than 8,192 characters",
}


@pytest.mark.parametrize("url", BAD, ids=range(len(BAD)))
def test_others_are_refused(url: str) -> None:
    with pytest.raises(MediaError) as fault:
        image(url)
    assert BAD[url] in fault.value.reason


def test_an_address_of_the_web() -> None:
    address = parse_address("https://pictures.example:8443/cat.png?size=2")
    assert isinstance(address, WebUrl)
    assert (address.url.host, address.url.port) == ("pictures.example", 8443)

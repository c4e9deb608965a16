"""A file as the model is shown it: text that says what it is, and pictures in their places.

    File "report.pdf" (PDF, 4 pages)
    Page 1:
    ```
    Sales rose by 3 %.
    ```
    Page 2 is this picture:
    <picture>
    Page 3 is blank.
    Page 4 cannot be read: it is damaged.

What the file itself says stands between fences of one length, longer than any run of backticks in
it: so nothing in it can end its place, nor look like the words around it.
"""

import json
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from serve.fences import fence_around
from serve.media.documents.document import Document

Picture = npt.NDArray[np.uint8]


def block(document: Document) -> list[str | Picture]:
    """The pieces that stand for a file in a prompt, in order.

    Args:
        document: the file.

    Returns:
        texts of whole lines, each with its line feed, and between them the pictures of pages,
        uint8 `[height, width, 3]`.
    """
    pieces: list[str | Picture] = []
    text = ""
    for each in _lines(document, fence_around(page.text for page in document.pages)):
        if isinstance(each, str):
            text += f"{each}\n"
        else:
            pieces += [text, each]
            text = ""
    return [*pieces, text] if text else pieces


def _lines(document: Document, fence: str) -> Iterator[str | Picture]:
    yield _title(document)
    for number, page in enumerate(document.pages, 1):
        which = f"Page {number}" if document.paged else "It"
        if page.text:
            if document.paged:
                yield f"{which}:"
            yield from (fence, page.text, fence)
        elif page.picture is not None:
            yield f"{which} is this picture:"
            yield page.picture
        elif page.unreadable:
            yield f"{which} cannot be read: {page.unreadable}."
        else:
            yield f"{which} is blank."
    if document.left_out:
        yield f"Not shown: {', '.join(document.left_out)}."


def _title(document: Document) -> str:
    """With the name as JSON writes it: a quotation mark in it does not end it."""
    count = len(document.pages)
    pages = f", {count} page{'s' if count > 1 else ''}" if document.paged else ""
    colon = "" if document.paged else ":"
    return f"File {json.dumps(document.name, ensure_ascii=False)} ({document.kind}{pages}){colon}"

"""HTML to text: what a reader sees, with lists, tables and the words for pictures."""

import re

from inscriptis import Inscriptis
from inscriptis.model.config import ParserConfig
from lxml.etree import ParserError
from lxml.html import HTMLParser, document_fromstring

from serve.media.documents import faults
from serve.media.documents.readers.encodings import decoded

_LOOK_WITHIN = 1024
_CHARSET = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_TOO_MUCH = "has elements nested deeper than 255, or one longer than 10,000,000 characters."
_GAPS = re.compile(r"(?<=\S) {3,}")
_LINE_ENDS = re.compile(r"[ \t]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\n{3,}")


def text_of(data: bytes, charset: str = "") -> str:
    """The text of a page.

    Args:
        data: of an HTML document.
        charset: that it was declared to have, or "": then it says so itself, or it is found out.

    Raises:
        MediaError: it is no text, or has elements deeper or larger than the parser takes.
    """
    said = _CHARSET.search(data[:_LOOK_WITHIN])
    page = decoded(data, charset or (said[1].decode() if said else ""))
    parser = HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        tree = document_fromstring(page.encode("utf-8", "replace"), parser)
    except ParserError:
        # Nothing but comments.
        return ""
    # What lies deeper the parser would leave out, without a word.
    if any(each.type_name == "ERR_RESOURCE_LIMIT" for each in parser.error_log):
        raise faults.too_large(_TOO_MUCH)
    text = Inscriptis(tree, ParserConfig(display_images=True)).get_text()
    # A cell is padded to the widest of its column: a page's worth of it, where one holds a text.
    narrow = _GAPS.sub("  ", _LINE_ENDS.sub("", text))
    return _EMPTY_LINES.sub("\n\n", narrow).strip("\n")

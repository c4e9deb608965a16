"""DOCX to text: paragraphs and tables in order, headings and tables as Markdown writes them."""

import io
import zipfile
from collections.abc import Iterator

import docx
from docx.document import Document as WordDocument
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml.ns import qn
from docx.oxml.text.run import CT_R
from docx.oxml.xmlchemy import BaseOxmlElement

from serve.media.documents import faults

_MOST_PARTS = 10_000
# With the text of links, of changes that were inserted and of boxes; what is there a second time,
# for older programs or where it was moved from, only once.
_RUNS = ".//w:r[not(ancestor::w:moveFrom or ancestor::*[local-name() = 'Fallback'])]"
_NOTES = ("footnote", "endnote", "comment")
_MARGINS = ((RELATIONSHIP_TYPE.HEADER, "headers"), (RELATIONSHIP_TYPE.FOOTER, "footers"))
_TEXT = b"</w:t>"
# What wraps blocks and is none: fields of forms, changes, custom tags.
_WRAPPERS = {qn(f"w:{name}") for name in ("sdt", "sdtContent", "ins", "customXml", "smartTag")}


def text_of(data: bytes, unpacked_bytes: int) -> tuple[str, list[str]]:
    """The text of a document, and what it has beside that.

    Args:
        data: of a DOCX file.
        unpacked_bytes: that all of the archive may have.

    Raises:
        MediaError: it is no DOCX, or unpacks to more.
    """
    _weigh(data, unpacked_bytes)
    # Whatever a stranger's archive has the library stumble over is the archive's fault.
    try:
        document = docx.Document(io.BytesIO(data))
        blocks = list(_blocks(document, document.element.body))
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        raise faults.broken("cannot be read as DOCX: it is damaged or has no document.") from error
    return "\n\n".join(each for each in blocks if each.strip()), _left_out(document)


def _weigh(data: bytes, most: int) -> None:
    """Refuse what unpacks to too much, by what the archive says: nothing unpacks to more."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
    if len(parts) > _MOST_PARTS:
        raise faults.too_large(f"is an archive of more than {_MOST_PARTS:,} parts.")
    if sum(each.file_size for each in parts) > most:
        raise faults.too_large(f"unpacks to more than {most:,} bytes.")
    if any(each.flag_bits & 1 for each in parts):
        raise faults.broken("is encrypted. Send it without a password.")


def _blocks(document: WordDocument, container: BaseOxmlElement) -> Iterator[str]:
    for child in container:
        if child.tag == qn("w:p"):
            yield _paragraph(document, child)
        elif child.tag == qn("w:tbl"):
            yield _table(child)
        elif child.tag in _WRAPPERS:
            yield from _blocks(document, child)


def _paragraph(document: WordDocument, element: BaseOxmlElement) -> str:
    text = _text(element)
    level = _heading_level(document, element)
    return f"{'#' * level} {text}" if level and text.strip() else text


def _text(element: BaseOxmlElement) -> str:
    return "".join(run.text for run in element.xpath(_RUNS) if isinstance(run, CT_R))


def _heading_level(document: WordDocument, element: BaseOxmlElement) -> int:
    """1 to 6 of a heading, 0 of any other paragraph."""
    identifier = getattr(element, "style", None)
    if identifier is None:
        return 0
    style = document.styles.element.get_by_id(identifier)
    name = (style.name_val if style is not None else None) or ""
    kind, _, level = name.lower().partition(" ")
    return int(level) if kind == "heading" and level in set("123456") else 0


def _table(element: BaseOxmlElement) -> str:
    """A line for each row; a cell is one line of text, and tables within it lie flat."""
    rows = (
        [" ".join(_cell(cell).split()) for cell in row.iter(qn("w:tc")) if _row_of(cell) is row]
        for row in element.iter(qn("w:tr"))
        if _table_of(row) is element
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(element: BaseOxmlElement) -> str:
    return " ".join(_text(paragraph) for paragraph in element.iter(qn("w:p")))


def _row_of(cell: BaseOxmlElement) -> BaseOxmlElement | None:
    return next(cell.iterancestors(qn("w:tr")), None)


def _table_of(row: BaseOxmlElement) -> BaseOxmlElement | None:
    return next(row.iterancestors(qn("w:tbl")), None)


def _left_out(document: WordDocument) -> list[str]:
    body = document.element.body
    relations = list(document.part.rels.values())
    kinds = [each.reltype for each in relations]
    counted = (
        (kinds.count(RELATIONSHIP_TYPE.IMAGE), "picture"),
        (kinds.count(RELATIONSHIP_TYPE.CHART), "chart"),
        *((len(body.xpath(f".//w:{name}Reference")), name) for name in _NOTES),
    )
    told = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counted if count]
    for kind, name in _MARGINS:
        # Word writes empty ones too.
        parts = (each.target_part.blob for each in relations if each.reltype == kind)
        if any(_TEXT in part for part in parts):
            told.append(name)
    return told

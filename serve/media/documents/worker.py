"""The process that reads documents of strangers. `reader.py` starts one with `main`."""

from serve.media.documents import transfer
from serve.media.documents.document import Document
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.readers import any_kind
from serve.media.documents.transfer import Asked
from serve.media.file_worker import serve_files


def main() -> None:
    """Serve until the other end is closed."""
    serve_files(DocumentLimits, transfer.receive_file, _read, transfer.send_answer)


def _read(asked: Asked, data: bytes, limits: DocumentLimits) -> Document:
    return any_kind.read(asked.name, asked.declared, data, limits, pictures=asked.pictures)

"""The process that reads files of strangers, so that only it can crash, hang or grow.

`reader.py` starts one with `main`. Takes `DocumentLimits`, then files one at a time, each
answered with a `Document` or with what is wrong. A file whose time is up ends the process with
SIGPROF; one for which memory runs out ends it with a traceback.
"""

import gc
import json
import signal
import traceback

from serve.helper import settle_in, step_back
from serve.media.documents import transfer
from serve.media.documents.document import Document
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.readers import any_kind
from serve.media.documents.transfer import Asked
from serve.media.errors import MediaError
from serve.media.file_process import Refused


def main() -> None:
    """Serve until the other end is closed."""
    link = settle_in()
    limits = DocumentLimits(**json.loads(link.recv_bytes()))
    step_back(limits.memory)
    gc.freeze()
    link.send("")
    while True:
        try:
            asked, data = transfer.receive_file(link, limits)
        except EOFError:
            return
        # Counts what this process computes: on a busy machine a file takes no more of that.
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        answer = _answer(asked, data, limits)
        signal.setitimer(signal.ITIMER_PROF, 0)
        del data
        try:
            transfer.send_answer(link, answer)
        except OSError:
            return


def _answer(asked: Asked, data: bytes, limits: DocumentLimits) -> Document | Refused:
    try:
        return any_kind.read(asked.name, asked.declared, data, limits, pictures=asked.pictures)
    except MediaError as wrong:
        return Refused(wrong.reason, wrong.code)
    except MemoryError:
        raise
    # Libraries raise anything at a broken file.
    except Exception as error:  # noqa: BLE001
        place = traceback.extract_tb(error.__traceback__)[-1]
        # Without the error's own words, which may be the file's.
        where = f"{type(error).__name__} in {place.filename}:{place.lineno}"
        return Refused("cannot be read: it is damaged.", "invalid_file", where)

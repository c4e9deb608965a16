"""The process that reads sound of strangers, so that only it can crash, hang or grow.

`reader.py` starts one with `main`. Takes `SoundLimits`, then files one at a time.
"""

import gc
import json
import signal
import traceback

from serve.helper import settle_in, step_back
from serve.media.errors import MediaError
from serve.media.file_process import Refused
from serve.media.sound import transfer
from serve.media.sound.decoding import decode
from serve.media.sound.limits import SoundLimits
from serve.media.sound.transfer import Sound, SoundFormat


def main() -> None:
    """Serve until the other end is closed."""
    link = settle_in()
    limits = SoundLimits(**json.loads(link.recv_bytes()))
    step_back(limits.memory)
    gc.freeze()
    link.send("")
    while True:
        try:
            form, data = transfer.receive_file(link, limits)
        except EOFError:
            return
        # Counts what this process computes: on a busy machine a file takes no more of that.
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        answer = _answer(form, data, limits)
        signal.setitimer(signal.ITIMER_PROF, 0)
        del data
        try:
            transfer.send_answer(link, answer)
        except OSError:
            return


def _answer(form: SoundFormat, data: bytes, limits: SoundLimits) -> Sound | Refused:
    try:
        return decode(data, form, limits)
    except MediaError as wrong:
        return Refused(wrong.reason, wrong.code)
    except MemoryError:
        raise
    # Libraries raise anything at a broken file.
    except Exception as error:  # noqa: BLE001
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {place.filename}:{place.lineno}"
        return Refused("cannot be read: it is damaged.", "invalid_file", where)

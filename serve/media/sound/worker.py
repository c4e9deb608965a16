"""The process that reads sound of strangers. `reader.py` starts one with `main`."""

from serve.media.file_worker import serve_files
from serve.media.sound import transfer
from serve.media.sound.decoding import decode
from serve.media.sound.limits import SoundLimits
from serve.media.sound.transfer import Sound, SoundFormat


def main() -> None:
    """Serve until the other end is closed."""
    serve_files(SoundLimits, transfer.receive_file, _read, transfer.send_answer)


def _read(form: SoundFormat, data: bytes, limits: SoundLimits) -> Sound:
    return decode(data, form, limits)

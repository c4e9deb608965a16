"""What the server's keeper decides about speech."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """Processes that speak, and how long they may take.

    Attributes:
        processes: each speaks one sentence at a time.
        threads: of each process, for Piper's models.
        silence_seconds: a process that gives no sound for so long hangs.
        ahead_seconds: so much of a speech may be waiting for whoever listens; then it is spoken on
            only as it is taken.
    """

    processes: int = 1
    threads: int = 2
    silence_seconds: float = 20.0
    ahead_seconds: float = 60.0

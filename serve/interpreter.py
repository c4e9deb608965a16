"""How Python itself is set for serving: a stream waits for nothing longer than for a token."""

import gc
import sys

# Python's own is 5 ms.
SWITCH_SECONDS = 0.0001


def share_the_lock() -> None:
    """Have a thread keep Python's lock for a tenth of a millisecond at most while others wait.

    A step asks for it again and again: beside a thread that reads a schema, or an event loop that
    receives long bodies, it would wait for 5 ms each time. Throughput does not suffer.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def set_aside_what_stays() -> None:
    """Spare the garbage collector what the start has made, which is a million objects.

    It looks through all there are whenever a quarter more have come, which the schema of one
    request can be, and holds the lock meanwhile: a quarter of a second on a slow core.
    """
    gc.collect()
    gc.freeze()

"""How a process ends that cannot wait for its threads."""

import logging
import os
import sys
from typing import NoReturn


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads: a compiler cannot be interrupted, nor can
    a device that waits for a host that has gone.
    """
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)

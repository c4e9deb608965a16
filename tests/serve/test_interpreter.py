import gc
import sys
import time

import pytest

from serve.interpreter import set_aside_what_stays, share_the_lock


def test_what_the_start_has_made_is_not_looked_through_again() -> None:
    made = [[n] for n in range(1_000_000)]
    try:
        began = time.process_time()
        gc.collect()
        before = time.process_time() - began
        set_aside_what_stays()
        began = time.process_time()
        gc.collect()
        assert time.process_time() - began < before / 3
    finally:
        gc.unfreeze()
    assert len(made) == 1_000_000


def test_a_thread_gives_the_lock_up_ten_times_as_soon() -> None:
    before = sys.getswitchinterval()
    share_the_lock()
    try:
        assert sys.getswitchinterval() == pytest.approx(before / 50)
    finally:
        sys.setswitchinterval(before)

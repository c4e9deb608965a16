"""Thousands of constrained requests leave nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(900)
def test_ten_thousand_requests_leave_memory_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "memory.json"
    places = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    subprocess.run(
        [sys.executable, "-m", "support.memory_of_requests", str(told)],
        env=os.environ | {"PYTHONPATH": places},
        check=True,
        timeout=800,
    )
    before, *sampled = json.loads(told.read_text())
    with capsys.disabled():
        print(f"\n{before:.0f} MiB, then each 1,000: " + " ".join(f"{at:.0f}" for at in sampled))
    # What it grows by over all 10,000 is less than 1 KiB for each.
    assert min(sampled[-3:]) - before < 10

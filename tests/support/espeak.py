"""Tests that speak need Debian's espeak-ng. CI has it; elsewhere they are skipped without it."""

import os
import shutil

import pytest

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None and "CI" not in os.environ,
    reason="needs espeak-ng: apt-get install espeak-ng",
)

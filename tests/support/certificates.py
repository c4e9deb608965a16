"""Certificates that nobody vouches for, made by openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest


def self_signed(directory: Path, alternative: str = "DNS:localhost") -> tuple[str, str]:
    """Files of a certificate for this alternative name, and of its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    chain, key = str(directory / "chain.pem"), str(directory / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=parlance"),
            *("-addext", f"subjectAltName={alternative}", "-keyout", key, "-out", chain),
        ],
        check=True,
        capture_output=True,
    )
    return chain, key

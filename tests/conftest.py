"""Settings for the whole suite: CPU only, shapes checked."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Several virtual CPU devices deadlock on small machines without a larger thread pool.
os.environ.setdefault("NPROC", "16")

from jaxtyping import install_import_hook

install_import_hook(("model", "sampling"), "beartype.beartype")

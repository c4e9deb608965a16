"""The bundled model with the likeliest token as its default, for clients to be tried on.

Their programs ask as their documentation shows, mostly without a temperature; nothing that is
asserted may depend on what is drawn.
"""

import json
import shutil
from pathlib import Path

from model.generation_config import generation_config_of
from serve.config import bundled_model

# A server applies what the checkpoint recommends only with these.
GREEDY_FLAGS = ("--sampling-defaults", "model")


def write_greedy_model(directory: Path) -> Path:
    """Write the checkpoint into a directory, under the bundled model's name; returns where."""
    target = directory / "parlance-bundled"
    shutil.copytree(bundled_model(), target)
    path = generation_config_of(target)
    generation = json.loads(path.read_text(encoding="utf-8")) | {"do_sample": False}
    path.write_text(json.dumps(generation), encoding="utf-8")
    return target

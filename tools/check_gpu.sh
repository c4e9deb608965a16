#!/bin/bash
# All that can be known of Parlance on one NVIDIA GPU, in under eight minutes, as one JSON object:
#
#     bash tools/check_gpu.sh RESULT.json [PYTHON]
#
# PYTHON (python3 if none is given) has the packages of pyproject.toml, with JAX for CUDA, and those
# of the tests; where it has torch and transformers too, steps are timed beside theirs. Nothing is
# fetched or installed. The exit status is that of tools/check_gpu.py, which says what is run.
set -euo pipefail
result=$(realpath -m "${1:?usage: tools/check_gpu.sh RESULT.json [PYTHON]}")
python=${2:-python3}
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
# The product never imports them; JAX takes most of the card's memory when it begins.
export JAX_PLATFORMS=cuda,cpu
exec "$python" -m tools.check_gpu "$result"

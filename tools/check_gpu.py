"""The tests and benchmarks that a machine with a GPU is for, one after another, within their time.

    bash tools/check_gpu.sh RESULT.json

Runs the GPU's tests, the steps of Llama-3.1-8B's shape (`bench_step`), beside PyTorch transformers
where this interpreter has them, and a server of a random model of a billion parameters under load
(`bench_serve`). Whatever fails or takes too long is told in its place, and the rest is run all the
same. The results are written as one JSON object, which is the last line too; the exit status is 1
if a part failed.

With `--trial` the same is done with tiny shapes on whatever device there is: to try this program.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from tools.served import Served

_TESTS_SECONDS, _STEPS_SECONDS, _SERVE_SECONDS = 100, 170, 190
_SHAPE = """
--layers 32 --embed 4096 --heads 32 --kv-heads 8 --head-dim 128 --ffn 14336 --vocab 128256 --untied
--dtype bfloat16 --context 4096 --visible 1024 --rows 1,16,64,128 --prefill 2048 --repeats 10
"""
_SERVED = """
--layers 16 --embed 2048 --heads 32 --kv-heads 8 --head-dim 64 --ffn 8192 --vocab 128256
--context 4096 --dtype bfloat16
"""
_TINY = "--layers 2 --embed 64 --heads 4 --kv-heads 2 --head-dim 16 --ffn 128 --vocab 8192"
_TRIAL_SHAPE = f"{_TINY} --context 256 --rows 1,4 --prefill 64 --repeats 2"
_STREAMS = (1, 16, 64)


class PartError(Exception):
    """A part of the check that did not come to its end; the message says how."""


def run(module: str, arguments: Sequence[str], seconds: float) -> str:
    """What a program of ours prints.

    Raises:
        PartError: it failed, or took longer than that.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(  # noqa: S603  (our own command)
            command, stdout=subprocess.PIPE, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PartError(f"{module} took longer than {seconds:.0f} s") from error
    if done.returncode:
        end = " | ".join(done.stdout.strip().splitlines()[-3:])
        raise PartError(f"{module} ended with {done.returncode}: {end}")
    return done.stdout


def last_json(output: str) -> Any:
    """The object in a benchmark's last line."""
    return json.loads(output.strip().splitlines()[-1])


def tests() -> Any:
    """The GPU's tests: the words of pytest's last line."""
    said = run("pytest", ["-m", "gpu", "-n", "0", "-q"], _TESTS_SECONDS)
    return said.strip().splitlines()[-1]


def steps(trial: bool) -> Any:
    """What `bench_step` says."""
    shape = (_TRIAL_SHAPE if trial else _SHAPE).split()
    if not trial and find_spec("torch") and find_spec("transformers"):
        shape = [*shape, "--transformers", sys.executable]
    return last_json(run("tools.bench_step", shape, _STEPS_SECONDS))


def served(trial: bool) -> Any:
    """What `bench_serve` says at each number of streams, and how long the server took to start."""
    began = time.monotonic()

    def left() -> float:
        return _SERVE_SECONDS - (time.monotonic() - began)

    with tempfile.TemporaryDirectory() as directory:
        model, programs = Path(directory) / "model", Path(directory) / "programs"
        shape = (_TINY if trial else _SERVED).split()
        run("tools.make_random_checkpoint", [str(model), *shape], left())
        with Served(model, ("--compile-cache", str(programs)), left()) as server:
            loads = [load(server.url, streams, trial, left()) for streams in _STREAMS]
            return {"ready_seconds": server.ready_seconds, "loads": loads}


def load(url: str, streams: int, trial: bool, seconds: float) -> Any:
    """One run of `bench_serve`."""
    tokens = 8 if trial else 128
    arguments = f"--url {url} --streams {streams} --requests {2 * streams} --prompt-tokens 80"
    arguments += f" --max-tokens {tokens} --temperature 1"
    fields = ["--extra", '{"ignore_eos": true}']
    return last_json(run("tools.bench_serve", [*arguments.split(), *fields], seconds))


@click.command(help="Run what a GPU is for, and write the results to RESULT.")
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--trial", is_flag=True, help="Tiny shapes, on any device.")
def main(result: Path, trial: bool) -> None:
    """Run it."""
    found: dict[str, Any] = {}
    failed = False
    parts = {"tests": tests, "steps": lambda: steps(trial), "served": lambda: served(trial)}
    for name, part in parts.items():
        began = time.monotonic()
        try:
            found[name] = part()
        except (PartError, click.ClickException) as error:
            found[name], failed = {"error": str(error)}, True
        found[f"{name}_seconds"] = round(time.monotonic() - began, 1)
        result.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))
    sys.exit(failed)


if __name__ == "__main__":
    main()

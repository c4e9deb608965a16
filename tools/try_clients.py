"""Tries well-known clients against a server, and writes what was seen into docs/clients.md.

    make clients                       installs them
    python -m tools.try_clients        serves the bundled model, and rewrites the page
    python -m tools.try_clients --url URL --flagged-url URL --seeing-url URL
                                       asks servers that run

`tools.clients` has the flags of the second and the third, which has those of `tools.client_senses`
too; the models are those of `tools.greedy_model` and, of the third, `tools.seeing_model`.
Fails if a client does otherwise than its program says.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from tools.client_senses import write_sense_flags
from tools.clients import (
    CLIENTS,
    FEATURES,
    FLAGGED,
    FLAGS,
    PROGRAMS,
    SEEING_FLAGS,
    Cell,
    Client,
    Servers,
    StandardTest,
    features_table,
    standard_table,
)
from tools.greedy_model import GREEDY_FLAGS, write_greedy_model
from tools.make_docs import with_part
from tools.seeing_model import write_seeing_model
from tools.served import Served

ROOT = PROGRAMS.parent.parent
PAGE = ROOT / "docs" / "clients.md"
STANDARD = "langchain_standard.py"
SECONDS = 300.0

_PYTHON = ROOT / ".venv" / "clients" / "bin" / "python"
_NODE_MODULES = PROGRAMS / "node_modules"
# Without it LiteLLM looks for a list of prices on the internet.
_OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def missing(*, for_node: bool) -> str | None:
    """What is needed to run programs and is not there, or None."""
    if shutil.which("espeak-ng") is None:
        return "voices: apt-get install espeak-ng"
    there = shutil.which("node") and _NODE_MODULES.is_dir() if for_node else _PYTHON.is_file()
    return None if there else f"the clients for {'Node' if for_node else 'Python'}: make clients"


def try_client(client: Client, servers: Servers) -> dict[str, Cell]:
    """What a client's program tells of each feature.

    Args:
        client: which one.
        servers: where it is tried; what is `FLAGGED`, at the one with flags.

    Raises:
        RuntimeError: the program failed as such.
    """
    cells: dict[str, Cell] = {}
    plain = FEATURES.keys() - FLAGGED
    for address, tried in ((servers.plain, plain), (servers.flagged, FLAGGED)):
        names = {feature.lower().replace(" ", "_"): feature for feature in tried}
        for line in _lines(client.program, address, servers.seeing, *names):
            cells[names[line["feature"]]] = Cell(line["fault"], **line["expected"])
    return cells


def surprises(cells: Mapping[str, Cell]) -> dict[str, str]:
    """The features that work or fail against what their program says."""
    return {
        feature: cell.fault or f"works now, though it is said not to: {cell.note}"
        for feature, cell in cells.items()
        if bool(cell.known) != bool(cell.fault) or cell.known not in (cell.fault or "")
    }


def try_standard_tests(servers: Servers) -> list[StandardTest]:
    """What LangChain's own tests tell.

    Raises:
        RuntimeError: the program failed as such.
    """
    return [
        StandardTest(line["test"], line["outcome"], line["reason"] or "")
        for line in _lines(STANDARD, servers.plain, servers.seeing)
    ]


def _lines(program: str, *arguments: str) -> list[dict[str, Any]]:
    command: list[str | Path] = ["node"] if program.endswith(".mjs") else [_PYTHON]
    done = subprocess.run(  # noqa: S603  (our own programs)
        [*command, PROGRAMS / program, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=os.environ | _OFFLINE,
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}:\n{done.stderr}")
    # Clients print things of their own too.
    told = [line for line in done.stdout.splitlines() if line.startswith('{"')]
    return [json.loads(line) for line in told]


def page_of(
    old: str, seen: Mapping[Client, Mapping[str, Cell]], tests: Iterable[StandardTest]
) -> str:
    """The page, with what was seen instead of what was there."""
    return with_part(
        with_part(old, "seen", features_table(seen)), "standard", standard_table(tests)
    )


@click.command()
@click.option("--url", default="", help="A server of the bundled model; without, one is started.")
@click.option("--flagged-url", default="", help=f"The same of one with {' '.join(FLAGS)}.")
@click.option("--seeing-url", default="", help="The same of one whose model sees.")
def main(url: str, flagged_url: str, seeing_url: str) -> None:
    """Try the clients, and write what was seen into docs/clients.md."""
    for absent in filter(None, (missing(for_node=False), missing(for_node=True))):
        raise click.ClickException(f"there are not {absent}")
    seen: dict[Client, dict[str, Cell]] = {}
    with ExitStack() as stack:
        models = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        greedy, seeing = write_greedy_model(models), write_seeing_model(models / "seeing")
        senses = write_sense_flags(models / "searched")

        def served(model: Path, *flags: str) -> str:
            return stack.enter_context(Served(model, flags)).url

        servers = Servers(
            url or served(greedy, *GREEDY_FLAGS),
            flagged_url or served(greedy, *GREEDY_FLAGS, *FLAGS),
            seeing_url or served(seeing, *SEEING_FLAGS, *senses),
        )
        for client in CLIENTS:
            seen[client] = try_client(client, servers)
            told = [f"{feature}: {how}" for feature, how in surprises(seen[client]).items()]
            click.echo("\n  ".join([client.title, *told]))
        tests = try_standard_tests(servers)
    failed = [f"{test.name}: {test.reason}" for test in tests if test.outcome == "failed"]
    click.echo("\n  ".join(["LangChain's standard tests", *failed]))
    PAGE.write_text(page_of(PAGE.read_text(encoding="utf-8"), seen, tests), encoding="utf-8")
    if failed or any(map(surprises, seen.values())):
        raise click.ClickException("not all is as the programs say")


if __name__ == "__main__":
    main()

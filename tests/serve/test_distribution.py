"""Whoever is told to install something gets this project, and no other's package of that name."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from serve.__main__ import cli
from serve.distribution import DISTRIBUTION

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
DOCUMENTS = ("*.md", "docs/**/*.md", "deploy/**/*", "notebooks/*.ipynb")
SOURCES = ("model", "sampling", "serve", "tools")
# A word of a shell, quoted or not; what ends a code span or a JSON string ends it too.
WORD = r"""(?:'[^'\n]*'|"[^"\n]*"|[^\s'"`\\]+)"""
INSTALL = re.compile(rf"\bpip[3x]? install((?:\s+-\S+)*)\s+({WORD})")
# The top of a checkout; or from where it is, under the name that the documents give it.
OURS = re.compile(r"(\.|\./parlance)(?:\[([a-z,]+)\])?")


def installs(text: str) -> list[str]:
    """What `pip install` is followed by, wherever it is in a text: options and a requirement."""
    return [f"{options} {word}".strip() for options, word in INSTALL.findall(text)]


def requirement(form: str) -> str:
    return shlex.split(form)[-1]


def is_ours(form: str) -> bool:
    found = OURS.fullmatch(requirement(form).rstrip(",;:"))
    return bool(found) and set((found[2] or "").split(",")) <= EXTRAS | {""}


def literals(source: str) -> Iterator[str]:
    """The strings of a module, with nothing in the places that are filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value for part in node.values if isinstance(part, ast.Constant))
            yield "".join(map(str, parts))


def helps(command: click.Command, *path: str) -> Iterator[tuple[str, str]]:
    """The command and all below it, each with what its `--help` shows."""
    shown = CliRunner().invoke(cli, [*path, "--help"])
    assert shown.exit_code == 0
    yield " ".join(("parlance", *path)), " ".join(shown.output.split())
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            yield from helps(part, *path, name)


def told() -> list[tuple[str, str]]:
    """Where a person is told to install something, and what."""
    texts = list(helps(cli))
    for pattern in DOCUMENTS:
        for path in filter(Path.is_file, sorted(ROOT.glob(pattern))):
            text = path.read_text(encoding="utf-8")
            for name, value in re.findall(r"^ARG (\w+)=(\w+)", text, re.MULTILINE):
                text = text.replace(f"${{{name}}}", value)
            texts.append((str(path.relative_to(ROOT)), text))
    for path in (path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))):
        texts += [(str(path.relative_to(ROOT)), text) for text in literals(path.read_text())]
    return [(where, form) for where, text in texts for form in installs(text)]


def test_every_install_that_a_person_is_told_of_is_of_this_project():
    found = told()
    assert [(where, form) for where, form in found if not is_ours(form)] == []
    places = {where for where, _ in found}
    assert {"README.md", "docs/plan.md", "docs/deploy.md", "deploy/Dockerfile"} <= places
    assert {"parlance plan", "serve/__main__.py", "serve/plan/compiler.py"} <= places


@pytest.mark.parametrize(
    "text",
    [
        "`pip install parlance`",
        "install it: pip install 'parlance[tpu]', best",
        "plan/bin/pip install --upgrade 'parlance[plan]'    # the compiler",
        "pip install parlance-jax",
        "pip install\n    'parlance[cuda]'",
        "pip install '.[tpus]'",
        "pip install -e .[train,parlance]",
        '"python -m pip install \\"parlance[tpu]\\""',
        "pipx install parlance",
        "pip install git+https://example.com/parlance",
    ],
)
def test_an_install_of_anything_else_is_seen(text):
    (form,) = installs(json.loads(text) if text.startswith('"') else text)
    assert not is_ours(form)


def test_nothing_is_read_where_nothing_is_installed():
    assert installs("`pip install` is all; pip installs it") == []


def test_an_extra_that_names_the_distribution_names_this_one():
    assert PROJECT["name"] == DISTRIBUTION
    ours = [
        line
        for lines in PROJECT["optional-dependencies"].values()
        for line in lines
        if line.startswith("parlance")
    ]
    assert ours
    assert all(line.startswith(f"{DISTRIBUTION}[") for line in ours)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what is installed: pip writes beside it."""
    copy = tmp_path_factory.mktemp("from") / "parlance"
    copy.mkdir()
    for name in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        shutil.copy(ROOT / name, copy)
    for name in ("model", "sampling", "serve"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def pip(tmp_path_factory) -> list[str]:
    """The `pip` of an environment with nothing in it."""
    place = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=300)
    return [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]


@pytest.mark.slow
def test_pip_finds_this_project_and_its_extras(pip, checkout):
    forms = sorted({requirement(form).rstrip(",;:") for _, form in told()})
    assert len(forms) > 5
    for form in forms:
        done = subprocess.run(
            [*pip, "install", "--dry-run", "--no-deps", "--quiet", "--report", "-", form],
            cwd=checkout.parent if form.startswith("./parlance") else checkout,
            stdout=subprocess.PIPE,
            check=True,
            timeout=500,
        )
        (found,) = json.loads(done.stdout)["install"]
        assert found["metadata"]["name"] == DISTRIBUTION
        extras = OURS.fullmatch(form)[2]
        assert set(found.get("requested_extras", [])) == set(extras.split(",") if extras else [])
        assert set(found.get("requested_extras", [])) <= set(found["metadata"]["provides_extra"])

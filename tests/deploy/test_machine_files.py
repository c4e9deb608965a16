"""The Dockerfile and the systemd unit."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.manifests import DEPLOY

from serve.config import ServeConfig
from serve.setting_names import environment_name, settings

ROOT = DEPLOY.parent
DOCKERFILE = DEPLOY / "Dockerfile"
UNIT = DEPLOY / "parlance.service"
# Beside the Python that runs the tests, which need not be on the path.
HADOLINT = Path(sys.executable).parent / "hadolint"


def instructions(name: str) -> list[str]:
    """What follows the instructions of this name; continued lines are one."""
    lines = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    return [line.removeprefix(name).strip() for line in lines if line.startswith(name + " ")]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is made for x86-64 Linux")
def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path):
    found = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(DOCKERFILE.read_text().replace("WORKDIR /opt", "WORKDIR opt"))
    assert subprocess.run([HADOLINT, wrong], capture_output=True, check=False).returncode == 1


def test_the_image_holds_all_packages_and_installs_extras_that_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert all((ROOT / source).exists() for source in sources)
    packages = project["tool"]["setuptools"]["packages"]
    assert {package.partition(".")[0] for package in packages} <= sources
    shown = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in shown if line.startswith("!")} == sources
    named = re.search(r"EXTRA is (\w+) or (\w+)", DOCKERFILE.read_text()).groups()
    assert set(named) <= set(project["project"]["optional-dependencies"])
    assert instructions("ARG") == ["EXTRA=cuda"]


def test_every_package_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    tops = {package.partition(".")[0] for package in listed}
    there = {path.parent for top in tops for path in (ROOT / top).rglob("*.py")}
    assert sorted(listed) == sorted(".".join(path.relative_to(ROOT).parts) for path in there)


def test_the_image_sets_settings_that_there_are():
    (variables,) = instructions("ENV")
    known = {environment_name(name) for name in settings()}
    assert {pair.partition("=")[0] for pair in variables.split()} <= known
    assert instructions("EXPOSE") == [str(ServeConfig().port)]


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path):
    """The program is one that is there, and systemd only warns of what it does not know."""
    text = UNIT.read_text().replace("/opt/parlance/bin/parlance", "/bin/true")
    for name, content in {"right": text, "wrong": text.replace("Restart=", "Restarts=")}.items():
        (tmp_path / f"{name}.service").write_text(content)
    command = ["systemd-analyze", "verify"]
    said = {
        name: subprocess.run(
            [*command, tmp_path / f"{name}.service"], capture_output=True, text=True, check=False
        )
        for name in ("right", "wrong")
    }
    assert (said["right"].returncode, said["right"].stderr) == (0, "")
    assert "Restarts" in said["wrong"].stderr


def test_the_unit_starts_the_server_and_lets_it_drain():
    service = unit()["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "parlance"
    assert arguments[:2] == ["serve", "--config"]
    assert int(service["TimeoutStopSec"]) >= ServeConfig().drain_seconds + 12
    # What a person must correct is not tried again.
    assert service["RestartPreventExitStatus"] == "2"
    variables = dict(re.findall(r"^Environment=(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    assert variables == {
        environment_name("compile_cache"): f"/var/cache/{service['CacheDirectory']}",
        environment_name("store"): f"/var/lib/{service['StateDirectory']}/store.sqlite",
    }

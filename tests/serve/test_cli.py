import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import jax
import pytest
from support.service_links import service_links

from serve.__main__ import main


def parlance(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> None:
    code, out, err = parlance(capsys, *arguments)
    assert (code, err) == (0, "")
    assert "Serve chat completions over HTTP." in out
    assert "Talk to a running server in the terminal." in out
    assert "curl http://127.0.0.1:8000/v1/chat/completions" in out


def test_help_of_serve_groups_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = parlance(capsys, "serve", "--help")
    assert code == 0
    headings = [line[:-1] for line in out.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == [
        "Model",
        "Network",
        "Access",
        "Content",
        "Limits",
        "Sound",
        "Search",
        "Engine",
        "Prompt cache",
        "Store",
        "Hosts",
        "Operation",
        "General",
    ]
    together = " ".join(out.split())
    assert (
        "--port PORT TCP port to listen on; 0 takes a free one. [default: 8000; PARLANCE_PORT]"
    ) in together
    assert "[default: on; PARLANCE_EXIT_ON_ENGINE_DEATH]" in together


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = parlance(capsys, "--version")
    assert code == 0
    assert out.startswith("parlance ")


def test_a_user_without_a_home_directory() -> None:
    """As whoever runs in a container by a number that it knows no user of."""
    code = "import os; os.getuid = lambda: 2**31 - 7; from serve.__main__ import main; main()"
    homeless = {
        name: os.environ[name] for name in os.environ if name not in ("HOME", "XDG_CACHE_HOME")
    }
    ended = subprocess.run(
        [sys.executable, "-c", code, "serve", "--print-config"],
        capture_output=True,
        text=True,
        check=False,
        env=homeless,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert 'compile_cache = "off" ' in ended.stdout


def test_a_path_in_a_home_directory_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.__main__.PLAN_ENVIRONMENT", {})
    for command in ("serve", "plan"):
        code, out, err = parlance(capsys, command, "--model", "~nobody-here/model")
        assert (code, out) == (2, "")
        assert err == (
            "parlance: ~nobody-here/model begins with the home directory of a user that is not "
            "there; write the whole path\n"
        )


def test_a_setting_of_jax_that_no_command_can_work_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.__main__.PLAN_ENVIRONMENT", {})
    # What `convert` sets, as it is in all tests.
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    commands = (("serve", "--port", "0"), ("convert", "a", "b"), ("plan", "--model", "qwen3-8b"))
    with jax.disable_jit():
        for command in commands:
            code, out, err = parlance(capsys, *command)
            assert (code, out) == (2, "")
            assert err == (
                "parlance: JAX_DISABLE_JIT (jax_disable_jit in code) is True, but the engine runs "
                "compiled programs and nothing else; unset it, or let it be False\n"
            )


def test_print_config(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = parlance(capsys, "serve", "--print-config", "--port", "9")
    assert (code, err) == (0, "")
    lines = {line.split(" = ")[0]: line for line in out.splitlines()}
    assert lines["port"].split() == ["port", "=", "9", "#", "flag", "--port"]
    assert lines["host"].split() == ["host", "=", '"127.0.0.1"', "#", "default"]
    last = "# where a request is silent: temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, "
    assert out.splitlines()[-1] == f"{last}repetition_penalty=1.0"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "--port", "65536"], "port (flag --port): 65536 is not a whole number from 0"),
        (["serve", "--port", "x"], "port (flag --port): x is not a whole number from 0 to 65535"),
        (["serve", "--rows", "0"], "rows (flag --rows): 0 is not a whole number from 1 to 4096"),
        (["serve", "--drain-seconds", "nan"], "nan is not a number of 0 or more"),
        (["serve", "--drain-seconds", "inf"], "inf is not a number of 0 or more"),
        (["serve", "--dtype", "int8"], "'int8' is not one of 'auto', 'float32', 'bfloat16'"),
        (["serve", "--prot", "1"], "No such option"),
        (["serve", "extra"], "extra"),
        (["serve", "--certfile", "x"], "certfile is set without keyfile"),
        (["serve", "--config", "/none.toml"], "the settings file /none.toml cannot be read"),
        (["server"], "No such command 'server'"),
        (["chat", "--temperature", "3"], "3.0 is not in the range 0<=x<=2"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    code, out, err = parlance(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("parlance: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_mistake_in_the_environment_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLANCE_ROWS", "many")
    code, _, err = parlance(capsys, "serve", "--print-config")
    assert code == 2
    assert err == (
        "parlance: rows (environment PARLANCE_ROWS): many is not a whole number from 1 to 4096\n"
    )


def test_a_variable_that_nobody_reads_is_named_and_stops_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLANCE_PROT", "9000")
    code, out, err = parlance(capsys, "serve", "--print-config")
    assert code == 0
    assert tomllib.loads(out)["port"] == 8000
    assert err == ("parlance: warning: PARLANCE_PROT is no setting; did you mean PARLANCE_PORT?\n")


def test_a_pod_beside_a_service_of_our_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in service_links("parlance").items():
        monkeypatch.setenv(name, value)
    code, out, err = parlance(capsys, "serve", "--print-config")
    assert (code, err) == (0, "")
    lines = {line.split(" = ")[0]: line for line in out.splitlines()}
    assert lines["port"].split() == ["port", "=", "8000", "#", "default"]

    path = tmp_path / "settings.toml"
    path.write_text("port = 7000\n", encoding="utf-8")
    _, out, _ = parlance(capsys, "serve", "--config", str(path), "--print-config")
    assert tomllib.loads(out)["port"] == 7000


def test_an_address_for_a_port_without_a_service(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLANCE_PORT", "tcp://10.0.0.1:8000")
    code, _, err = parlance(capsys, "serve", "--print-config")
    assert code == 2
    assert "port (environment PARLANCE_PORT): tcp://10.0.0.1:8000 is not a whole number" in err


def test_a_mistake_in_the_file_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("rows = 5000\n", encoding="utf-8")
    code, _, err = parlance(capsys, "serve", "--config", str(path), "--print-config")
    assert code == 2
    assert f"rows (file {path}): 5000 is not a whole number from 1 to 4096" in err


def test_a_process_of_its_own_prints_no_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "serve", "serve", "--port", "x"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "parlance: port (flag --port): x is not a whole number from 0 to 65535\n"
    )


def test_help_does_not_import_jax() -> None:
    code = (
        "import sys\n"
        "from serve.__main__ import main\n"
        "try:\n    main(['serve', '--help'])\n"
        "except SystemExit:\n    assert 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_chat_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    # Port 1 of the loopback interface has no listener.
    code, out, err = parlance(capsys, "chat", "--url", "http://127.0.0.1:1/v1", "hello")
    assert (code, out) == (1, "")
    assert "no server answers at http://127.0.0.1:1/v1" in err
    assert "parlance serve" in err


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PARLANCE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

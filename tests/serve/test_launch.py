import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.seeing import QWEN
from support.senses import FakeHearing
from support.service_links import service_links

from model import bundled
from serve.config import ServeConfig
from serve.engine.page_files import PageDirectory
from serve.gathering import Senses
from serve.launch import _api_settings, _for_senses, _load, ready_message
from serve.server import listen


def serve(*arguments: str, before: str = "", **variables: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `parlance serve` with these variables.

    `before` is code that it runs first.
    """
    clean = {name: value for name, value in os.environ.items() if "PARLANCE" not in name}
    code = f"{before}\nfrom serve.__main__ import main\nmain()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "serve", "--log-level", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean | {"JAX_PLATFORMS": "cpu"} | variables,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("asked", "senses", "most", "text"),
    [
        (0, Senses(), 4, 0),
        (0, Senses(sight=QWEN), 32, 4),
        (0, Senses(hearing=FakeHearing("")), 32, 4),
        (8, Senses(), 8, 0),
        (8, Senses(sight=QWEN, hearing=FakeHearing("")), 8, 0),
    ],
)
def test_bodies_have_room_for_photographs_and_recordings_where_they_are_taken(
    asked: int, senses: Senses, most: int, text: int
) -> None:
    config = ServeConfig(max_body_bytes=asked * 2**20)
    made = _for_senses(_api_settings(config), config, senses)
    assert (made.max_body_bytes, made.text_body_bytes) == (most * 2**20, text * 2**20)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    code, out, err = serve("--port", "0", "--model", str(missing))
    assert (code, out) == (2, "")
    assert err == (f"parlance: {missing} is not a directory; give the directory of a checkpoint\n")


def test_an_adapter_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    code, out, err = serve("--port", "0", "--adapter", f"fun={missing}")
    assert (code, out) == (2, "")
    assert err == (
        f"parlance: the adapter {missing} is not a directory; give one as PEFT's save_pretrained "
        f"writes it\n"
    )


def test_an_adapter_of_the_models_name() -> None:
    code, out, err = serve("--port", "0", "--model-id", "fun", "--adapter", "fun=/none")
    assert (code, out) == (2, "")
    assert err == ("parlance: adapter names 'fun', which is a name of the model; give it another\n")


def test_a_start_beside_a_service_of_our_name(tmp_path: Path) -> None:
    links = service_links("parlance")
    missing = tmp_path / "none"
    code, _, err = serve("--log-level", "info", "--model", str(missing), **links)
    assert code == 2
    told, *_, complaint = err.splitlines()
    assert told.endswith(f"Kubernetes tells of Services by {', '.join(sorted(links))}: no settings")
    assert complaint.startswith(f"parlance: {missing} is not a directory")


def test_a_port_in_use() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        code, out, err = serve("--port", str(port))
    assert (code, out) == (2, "")
    assert err == (
        f"parlance: port {port} on 127.0.0.1 is in use already; choose another with --port, "
        f"or end the program that uses it\n"
    )


def test_a_directory_of_pages_that_another_server_has(tmp_path: Path) -> None:
    held = PageDirectory(tmp_path, 2**20)
    code, out, err = serve("--port", "0", "--cache-dir", str(tmp_path))
    held.close()
    assert (code, out) == (2, "")
    assert err == (
        f"parlance: cache_dir {tmp_path} is in use by another server; give each a directory of "
        f"its own (--cache-dir)\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "JAX_PLATFORMS",
            "nonsense",
            "JAX finds no device (Unable to initialize backend 'nonsense'",
        ),
        ("JAX_ENABLE_X64", "1", "JAX_ENABLE_X64 (jax_enable_x64 in code) is True, but "),
        ("JAX_ENABLE_X64", "banana", "JAX cannot be imported: invalid truth value 'banana' for "),
    ],
)
def test_a_variable_of_jax_that_cannot_be(name: str, value: str, said: str) -> None:
    code, out, err = serve("--port", "0", **{name: value})
    assert (code, out) == (2, "")
    assert err.startswith(f"parlance: {said}")
    assert err.count("\n") == 1


def test_a_cache_that_no_memory_can_hold() -> None:
    code, out, err = serve("--port", "0", "--cache-tokens", "1000000000")
    assert (code, out) == (2, "")
    assert err.startswith("parlance: a cache of 1000000000 tokens takes 4768.37 GiB, with all else")
    assert err.endswith("; lower cache_tokens (--cache-tokens)\n")
    assert err.count("\n") == 1


def test_a_program_that_no_memory_can_hold(cache_home: Path) -> None:
    """Known only once it is compiled, when the health routes answer already."""
    little = (
        "from serve.engine import memory, runner\n"
        "runner.capacity = lambda mesh: memory.Capacity(1 << 20, 1 << 20, 'this host has')"
    )
    few = ("--rows", "1", "--context", "16", "--port", "0")
    code, out, err = serve(*few, before=little, XDG_CACHE_HOME=str(cache_home))
    assert (code, out) == (2, "")
    assert err.startswith("parlance: the model in float32 takes ")
    assert err.count("\n") == 1


def test_a_key_file_that_is_not_there() -> None:
    code, out, err = serve("--port", "0", "--api-key-file", "/none/keys")
    assert (code, out) == (2, "")
    assert err.startswith("parlance: api_key_file /none/keys cannot be read")
    assert err.count("\n") == 1


def test_a_content_filter_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "filter.toml"
    path.write_text("[insults]\nwords = 'fool'\n")
    code, out, err = serve("--port", "0", "--content-filter", str(path))
    assert (code, out) == (2, "")
    assert err == (
        f"parlance: content_filter {path}, line 2, has words in [insults] that are no array; "
        f"write ['…', '…']\n"
    )


def test_a_store_that_is_no_place() -> None:
    code, out, err = serve("--port", "0", "--store", "mysql://somewhere/x")
    assert (code, out) == (2, "")
    assert err == (
        "parlance: store begins with mysql://; give a file for SQLite, postgresql://…, or off\n"
    )


def test_a_chat_template_with_a_syntax_error(tmp_path: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text("{% for message in messages %}\n{{ message.content }\n{% endfor %}")
    code, out, err = serve("--port", "0", "--chat-template", str(template))
    assert (code, out) == (2, "")
    assert err.startswith(f"parlance: line 2 of {template} is wrong: ")
    assert err.count("\n") == 1


def test_a_corrupt_tokenizer(tmp_path: Path) -> None:
    shutil.copytree(bundled.directory(), tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab"')
    code, out, err = serve("--port", "0", "--model", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith(f"parlance: {tmp_path / 'tokenizer.json'} cannot be read")
    assert err.count("\n") == 1


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    code, out, err = serve("--port", "0", "--tokenizer", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith(f"parlance: {tmp_path} has no tokenizer; put ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("home", "why"),
    [
        (None, "there is no home directory; --compile-cache names another"),
        ("/home/someone", "compile_cache is off"),
    ],
)
def test_that_programs_are_not_kept_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, home: str | None, why: str
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    monkeypatch.setattr("serve.launch.load_engine", lambda _, **settings: settings)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    with caplog.at_level("INFO", "serve.launch"):
        loaded = _load(ServeConfig(compile_cache="off"), None)
    assert loaded["compile_cache"] is None
    assert caplog.messages[1:] == [f"compiled programs are not kept for the next start: {why}"]


def test_what_is_drafted_is_the_engines_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.launch.load_engine", lambda _, **settings: settings)
    for speculate in ("off", "ngram"):
        loaded = _load(ServeConfig(speculate=speculate, compile_cache="off"), None)
        assert loaded["speculate"] == speculate


def test_what_a_person_is_told_when_it_is_ready() -> None:
    config = ServeConfig(model=Path("/models/mine"))
    assert ready_message(config, 8000, 4.25) == (
        "Parlance serves mine at http://127.0.0.1:8000/v1 (ready in 4.2 s). Try:\n"
        "  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' "
        """-d '{"model": "mine", "messages": [{"role": "user", "content": "Hello"}]}'"""
    )


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:81/v1"),
        ("::", "http://[::1]:81/v1"),
        ("fe80::1", "http://[fe80::1]:81/v1"),
        ("example.org", "http://example.org:81/v1"),
    ],
)
def test_the_address_can_be_called(host: str, url: str) -> None:
    assert f" at {url} (" in ready_message(ServeConfig(host=host), 81, 1.0)


def test_tls_and_keys_show_in_the_example() -> None:
    config = ServeConfig(certfile="c", keyfile="k", api_key="sk-secret", model_id="it's")
    shown = ready_message(config, 443, 1.0)
    assert "curl https://127.0.0.1:443/v1/chat/completions" in shown
    assert '-H "Authorization: Bearer $PARLANCE_API_KEY"' in shown
    assert "sk-secret" not in shown
    # The shell's way to write a quote inside quotes.
    assert """{"model": "it'"'"'s", """ in shown

import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import pytest
from click.testing import CliRunner
from support.foreign_directories import REVISION

from serve.config import BUNDLED_MODEL_ID, ConfigError, ServeConfig, bundled_model, expanded
from serve.key_file import read_api_keys, read_priority_keys
from serve.options import (
    GroupedCommand,
    ResolvedConfig,
    make_options,
    read_config_file,
    render_config,
    resolve,
)
from serve.setting_names import environment_name, flag_name, settings
from serve.text.calls.detect import FORMATS
from serve.text.thoughts.detect import FORMATS as REASONING_FORMATS
from serve.thought_fields import REASONING_BUDGETS


def resolved(
    *arguments: str, environment: dict[str, str] | None = None
) -> tuple[ResolvedConfig, str]:
    """What the arguments and variables make, and what was printed."""
    caught: list[ResolvedConfig] = []

    @click.pass_context
    def remember(context: click.Context, /, print_config: bool, **values: Any) -> None:
        caught.append(resolve(context, values))

    command = GroupedCommand("serve", params=make_options(), callback=remember)
    result = CliRunner().invoke(command, arguments, env=environment or {}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return caught[0], result.output


def written(folder: Path, text: str) -> str:
    path = folder / "parlance.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults() -> None:
    made, _ = resolved()
    assert made.config == ServeConfig()
    assert made.config.port == 8000
    assert made.config.host == "127.0.0.1"
    assert made.config.max_choices == 128
    assert made.config.exit_on_engine_death
    assert not made.config.deterministic
    assert set(made.origins.values()) == {"default"}
    assert set(made.origins) == set(settings())


def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    path = written(tmp_path, "port = 1\nrows = 1\ncontext = 1\n")
    environment = {"PARLANCE_PORT": "2", "PARLANCE_ROWS": "2"}
    made, _ = resolved("--config", path, "--port", "3", environment=environment)
    config, origins = made.config, made.origins
    assert (config.port, config.rows, config.context, config.page_size) == (3, 2, 1, 16)
    assert origins["port"] == "flag --port"
    assert origins["rows"] == "environment PARLANCE_ROWS"
    assert origins["context"] == f"file {path}"
    assert origins["page_size"] == "default"


def test_the_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "port = 7\n")
    made, _ = resolved(environment={"PARLANCE_CONFIG": path})
    assert made.config.port == 7


@pytest.mark.parametrize("name", [name for name in settings() if flag_name(name)])
def test_every_setting_can_be_set_in_all_three_ways(name: str, tmp_path: Path) -> None:
    default = getattr(ServeConfig(), name)
    other: Any = {
        "model": "/models/x",
        "dtype": "bfloat16",
        "weights": "int8",
        "cache_dtype": "fp8",
        "sampling_defaults": "model",
        "log_level": "debug",
        "tool_format": "hermes",
        "reasoning_format": "think",
        "reasoning_budgets": "low=7",
        "aliases": ["one"],
        "adapters": ["one=/adapters/x"],
        "cors_origins": ["https://one.example"],
        "coordinator": "one.example:1",
        "speculate": "ngram",
        "moderation_url": "http://one.example/v1/moderations",
        "moderation_unanswered": "allow",
        "search_url": "http://one.example",
        "rate_limit": "60,1000",
    }.get(name)
    if other is None:
        other = "text"
        if isinstance(default, bool):
            other = not default
        elif isinstance(default, int | float):
            other = type(default)(default - 2 if name == "max_choices" else default + 2)
    first = other[0] if isinstance(other, list) else other
    # A certificate needs a key, keys that are preferred need others, and each of several processes
    # says who it is among how many.
    groups = [
        {"certfile": "partner", "keyfile": "partner"},
        {"priority_keys": "partner", "api_key_file": "partner"},
        {"coordinator": "partner:1", "num_processes": "2", "process_id": "0"},
    ]
    extra = [
        word
        for group in groups
        if name in group and name != "api_key_file"
        for partner in group.keys() - {name}
        for word in (flag_name(partner), group[partner])
    ]

    if isinstance(default, bool):
        flags = [flag_name(name) if other else "--no-" + flag_name(name)[2:]]
    else:
        flags = [flag_name(name), str(first)]
    by_flag, _ = resolved(*flags, *extra)
    by_environment, _ = resolved(*extra, environment={environment_name(name): str(first)})
    spelled = {True: "true", False: "false"}.get(other) if isinstance(other, bool) else None
    path = written(tmp_path, f"{name} = {spelled or repr(other)}\n")
    by_file, _ = resolved("--config", path, *extra)

    for made in (by_flag, by_environment, by_file):
        value = getattr(made.config, name)
        assert value != default
        assert (list(value) if isinstance(value, tuple) else value) == (
            Path(other) if name == "model" else other
        )
    assert by_flag.origins[name] == f"flag {flag_name(name)}"
    assert by_environment.origins[name] == f"environment {environment_name(name)}"
    assert by_file.origins[name] == f"file {path}"


def test_lists_from_the_environment_are_split_at_blanks() -> None:
    made, _ = resolved(environment={"PARLANCE_ALIASES": "gpt-4o  tiny"})
    assert made.config.aliases == ("gpt-4o", "tiny")


def test_printed_config_is_a_file_of_the_same_settings(tmp_path: Path) -> None:
    arguments = ["--port", "9", "--alias", 'quo"ted', "--alias", "b\\c", "--deterministic"]
    first, _ = resolved(*arguments, "--drain-seconds", "2.5", "--model", "/models/ü")
    printed = render_config(first)
    assert 'aliases = ["quo\\"ted", "b\\\\c"]' in printed
    assert tomllib.loads(printed)["port"] == 9
    again, _ = resolved("--config", written(tmp_path, printed))
    assert again.config == first.config


def test_the_api_key_is_never_printed() -> None:
    made, _ = resolved(environment={"PARLANCE_API_KEY": "sk-secret"})
    assert made.config.api_key == "sk-secret"
    assert made.origins["api_key"] == "environment PARLANCE_API_KEY"
    printed = render_config(made)
    assert "# api_key is set" in printed
    assert "sk-secret" not in printed + repr(made)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("prot = 1", "unknown key 'prot'; the keys are: model, model_id, "),
        ('port = "8000"', "port in {path} is '8000'; it must be a whole number"),
        ("port = true", "port in {path} is True; it must be a whole number"),
        ("port = 1.5", "port in {path} is 1.5; it must be a whole number"),
        ("drain_seconds = false", "it must be a number"),
        ("deterministic = 1", "it must be true or false"),
        ("host = 1", "it must be a string"),
        ('aliases = "one"', "it must be a list of strings"),
        ("aliases = [1]", "it must be a list of strings"),
        ('api_key = "sk"', "unknown key 'api_key'"),
        ("[serve]\nport = 1", "unknown key 'serve'"),
        ("port = ", "is not valid TOML"),
    ],
)
def test_a_file_that_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        read_config_file(Path(path))
    assert complaint.format(path=path) in str(refused.value)
    assert path in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config_file(tmp_path / "none.toml")


def test_tls_needs_both_files() -> None:
    with pytest.raises(ConfigError, match="certfile is set without keyfile"):
        ServeConfig(certfile="chain.pem")
    with pytest.raises(ConfigError, match="keyfile is set without certfile"):
        ServeConfig(keyfile="key.pem")
    assert ServeConfig(certfile="chain.pem", keyfile="key.pem").scheme == "https"
    assert ServeConfig().scheme == "http"


def test_the_name_that_is_served() -> None:
    assert ServeConfig().served_id == BUNDLED_MODEL_ID
    assert ServeConfig(model=bundled_model() / ".." / "bundled").served_id == BUNDLED_MODEL_ID
    assert ServeConfig(model=Path("/models/mine")).served_id == "mine"
    assert ServeConfig(model=Path("/models/mine"), model_id="other").served_id == "other"


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        (f"models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/{REVISION}", None),
        (f"models--gpt2/snapshots/{REVISION}", "gpt2"),
        # No snapshots of models.
        (f"datasets--some--data/snapshots/{REVISION}", REVISION),
        (f"models--some--model/blobs/{REVISION}", REVISION),
        (f"models/snapshots/{REVISION}", REVISION),
        ("models--some--model/snapshots", "snapshots"),
    ],
)
def test_a_snapshot_is_served_under_its_models_id(
    tmp_path: Path, directory: str, name: str | None
) -> None:
    place = tmp_path / directory
    place.mkdir(parents=True)
    (tmp_path / "mine").symlink_to(place)
    wanted = name or "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert ServeConfig(model=place).served_id == wanted
    assert ServeConfig(model=tmp_path / "mine").served_id == wanted
    assert ServeConfig(model=place, model_id="other").served_id == "other"


def test_a_path_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins with a dot is told from the id of a model on the hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    for given, wanted in (
        ("./some/model", tmp_path / "some/model"),
        ("../model", tmp_path / "../model"),
        ("some/model", Path("some/model")),
        ("some/model@v1:d/a.gguf", Path("some/model@v1:d/a.gguf")),
    ):
        assert resolved("--model", given)[0].config.model == wanted


def test_a_deterministic_server_drafts_nothing() -> None:
    with pytest.raises(
        ConfigError, match=r"^speculate is 'ngram' with deterministic, which drafts"
    ):
        ServeConfig(speculate="ngram", deterministic=True)
    assert ServeConfig(deterministic=True).speculate == ServeConfig().speculate == "off"


def test_a_circle_of_links_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    assert ServeConfig(model=tmp_path / "link").served_id == "link"


@pytest.mark.parametrize("off", ["", "off"])
def test_the_compile_cache_can_be_off(off: str) -> None:
    assert ServeConfig(compile_cache=off).compile_cache_directory is None
    assert ServeConfig(compile_cache="/x").compile_cache_directory == Path("/x")


def test_the_compile_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert ServeConfig().compile_cache == "/caches/parlance/xla"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert ServeConfig().compile_cache == "/home/someone/.cache/parlance/xla"


def test_caches_of_a_relative_path_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG Base Directory Specification says."""
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert ServeConfig().compile_cache == "/home/someone/.cache/parlance/xla"


def test_a_user_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    assert ServeConfig().compile_cache == "off"
    assert ServeConfig().compile_cache_directory is None
    with pytest.raises(ConfigError, match=r"^~/x begins with a home directory, and this user has"):
        _ = ServeConfig(compile_cache="~/x").compile_cache_directory
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert ServeConfig().compile_cache == "/caches/parlance/xla"


def test_a_home_directory_of_a_relative_path_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert ServeConfig().compile_cache == "off"


def test_the_home_directory_of_a_user_that_is_not_there() -> None:
    with pytest.raises(
        ConfigError, match="~nobody-here/x begins with the home directory of a user"
    ):
        expanded("~nobody-here/x")
    assert expanded("/models/~x") == Path("/models/~x")


def test_the_store_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert ServeConfig().store_place == "/data/parlance/store.sqlite"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert ServeConfig().store == "/home/someone/.local/share/parlance/store.sqlite"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    assert ServeConfig().store == "off"


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("", "off"),
        ("off", "off"),
        ("postgresql://user@host/x", "postgresql://user@host/x"),
        ("/x/y.sqlite", "/x/y.sqlite"),
        ("y.sqlite", str(Path.cwd() / "y.sqlite")),
        ("~/y.sqlite", str(Path.home() / "y.sqlite")),
    ],
)
def test_places_of_the_store(given: str, place: str) -> None:
    assert ServeConfig(store=given).store_place == place


def test_a_moderation_server_is_asked_by_http() -> None:
    with pytest.raises(ConfigError, match="must begin with http:// or https://"):
        ServeConfig(moderation_url="judge.example/v1/moderations")


def test_api_keys_of_a_file_and_of_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\nsk-one\n\n  sk-two  \n  # theirs\n", encoding="utf-8")
    config = ServeConfig(api_key_file=str(path), api_key="sk-three")
    assert read_api_keys(config) == {"sk-one", "sk-two", "sk-three"}
    assert read_api_keys(ServeConfig()) == frozenset()


def test_a_key_file_without_keys_does_not_open_the_server(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# none yet\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no key"):
        read_api_keys(ServeConfig(api_key_file=str(path)))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_api_keys(ServeConfig(api_key_file=str(tmp_path / "missing")))


def test_priority_keys_are_some_of_the_accepted_ones(tmp_path: Path) -> None:
    accepted, preferred = tmp_path / "keys", tmp_path / "preferred"
    accepted.write_text("sk-one\nsk-two\n", encoding="utf-8")
    preferred.write_text("# who pays\nsk-two\n", encoding="utf-8")
    config = ServeConfig(api_key_file=str(accepted), priority_keys=str(preferred))
    assert read_priority_keys(config) == {"sk-two"}
    assert read_priority_keys(ServeConfig(api_key_file=str(accepted))) == frozenset()
    preferred.write_text("sk-two\nsk-three\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds 1 of 2 keys that are not accepted") as caught:
        read_priority_keys(config)
    assert "sk-" not in str(caught.value)
    with pytest.raises(ConfigError, match="priority_keys says nothing without API keys"):
        ServeConfig(priority_keys=str(preferred))


@pytest.mark.parametrize("wrong", ["60", "60,", "60,1000,5", "0,1000", "60,-1", "many,1000"])
def test_a_rate_limit_is_two_numbers(wrong: str) -> None:
    assert ServeConfig().most_a_minute is None
    assert ServeConfig(rate_limit=" 60, 1000").most_a_minute == (60, 1000)
    with pytest.raises(ConfigError, match="each at least 1, like 60,100000"):
        ServeConfig(rate_limit=wrong)


def test_every_setting_is_explained() -> None:
    for name, (_, explained) in settings().items():
        assert explained.help.endswith("."), name
        assert explained.group, name


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PARLANCE_"):
            monkeypatch.delenv(name)


def test_every_reasoning_format_can_be_chosen() -> None:
    kind = get_type_hints(ServeConfig)["reasoning_format"]
    assert set(get_args(kind)) == {"auto", "none", *REASONING_FORMATS}


def test_budgets_of_levels_that_are_named() -> None:
    assert ServeConfig().thinking_budgets == REASONING_BUDGETS
    config = ServeConfig(reasoning_budgets="low=0, high = 7,")
    assert config.thinking_budgets == REASONING_BUDGETS | {"low": 0, "high": 7}


@pytest.mark.parametrize(
    "wrong", ["low", "low=", "low=-1", "none=1", "low=1.5", "low=1;high=2", "=3"]
)
def test_budgets_that_cannot_be(wrong: str) -> None:
    with pytest.raises(ConfigError, match="each must be one of minimal, low, medium, high, xhigh"):
        ServeConfig(reasoning_budgets=wrong)


def test_every_tool_format_can_be_chosen() -> None:
    kind = get_type_hints(ServeConfig)["tool_format"]
    assert set(get_args(kind)) == {"auto", *FORMATS}


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        (("x",), "adapter is 'x'; it must be a name and a directory, like sql=/models/sql-"),
        (("=x",), "adapter is '=x'; it must be"),
        (("x=",), "adapter is 'x='; it must be"),
        (("x=/a", "y=/b", "x=/c"), "adapter names 'x' twice; give each a name of its own"),
    ],
)
def test_adapters_that_cannot_be(adapters: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        ServeConfig(adapters=adapters)


def test_adapters_have_names_of_their_own() -> None:
    given = ("sql=/models/a=b", "org/fun=~/c")
    assert ServeConfig(adapters=given).adapter_directories == {
        "sql": Path("/models/a=b"),
        "org/fun": Path.home() / "c",
    }
    for names in ({"aliases": ("x", "sql")}, {"model_id": "sql"}, {"model": Path("/models/sql")}):
        with pytest.raises(ConfigError, match="adapter names 'sql', which is a name of the model"):
            _ = ServeConfig(adapters=given, **names).adapter_directories

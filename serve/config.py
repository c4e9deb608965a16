"""The settings of `parlance serve`: their names, meanings, defaults and bounds, once.

The command line, the environment variables, the TOML keys and the help are all made from
these fields (`options.py`). Knows nothing of where a value came from, nor of the engine.
"""

import os
from dataclasses import Field, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

BUNDLED_MODEL_ID = "parlance-bundled"
_SETTING = "setting"


class ConfigError(ValueError):
    """Settings that cannot hold together; the message says which and what is allowed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How one field is set and explained.

    Attributes:
        group: heading under which the help shows it.
        help: what it does, with its unit; one or two sentences.
        metavar: placeholder for its value in the help; empty for switches and choices.
        flag: the flag, where it is not the field's name with dashes.
        low: smallest value allowed, for numbers.
        high: largest value allowed, for numbers.
        default_text: the default in words, where the value itself says little.
        secret: set by its environment variable only, and never printed.
    """

    group: str
    help: str
    metavar: str = ""
    flag: str = ""
    low: float | None = None
    high: float | None = None
    default_text: str = ""
    secret: bool = False


def bundled_model() -> Path:
    """Directory of the model that comes with Parlance."""
    return Path(str(files("model"))) / "bundled"


def _default_compile_cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return str(Path(base) / "parlance" / "xla")


# Any, because to a type checker a dataclass field's default must look like the field's type.
def _setting(default: object, **explained: Any) -> Any:
    made: dict[str, Any] = {"default_factory" if callable(default) else "default": default}
    setting = Setting(**explained)
    return field(**made, repr=not setting.secret, metadata={_SETTING: setting})


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Every setting of the server, resolved once at start-up.

    Each field's `Setting` explains it; `parlance serve --help` prints the same text.

    Raises:
        ConfigError: settings that contradict each other.
    """

    model: Path = _setting(  # noqa: RUF009  (it is a field(); ruff does not know Path immutable)
        bundled_model,
        group="Model",
        help="Directory of the checkpoint, with its config, tokenizer and chat template.",
        metavar="DIRECTORY",
        default_text="the bundled model",
    )
    model_id: str = _setting(
        "",
        group="Model",
        help="Name under which requests ask for the model.",
        metavar="NAME",
        default_text=f"the directory's name, {BUNDLED_MODEL_ID} for the bundled model",
    )
    aliases: tuple[str, ...] = _setting(
        (),
        group="Model",
        help="A further name for the model; may be repeated.",
        metavar="NAME",
        flag="--alias",
        default_text="none",
    )
    chat_template: str = _setting(
        "",
        group="Model",
        help="File of a jinja2 chat template, or name of one of the checkpoint's templates.",
        metavar="FILE",
        default_text="the checkpoint's default template",
    )
    tool_format: Literal[
        "auto",
        "hermes",
        "llama3",
        "mistral",
        "mistral-ids",
        "mistral-args",
        "gemma3",
        "phi4-mini",
        "functools",
        "gpt-oss",
        "generic",
    ] = _setting(
        "auto",
        group="Model",
        help="How the model writes calls of tools; auto tells it from the chat template.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = _setting(
        "auto",
        group="Model",
        help="Number format of the weights; auto is float32 on CPU, bfloat16 on accelerators.",
    )

    host: str = _setting(
        "127.0.0.1",
        group="Network",
        help="Address to listen on; 0.0.0.0 or :: for all interfaces.",
        metavar="ADDRESS",
    )
    port: int = _setting(
        8000,
        group="Network",
        help="TCP port to listen on; 0 takes a free one.",
        metavar="PORT",
        low=0,
        high=65535,
    )
    certfile: str = _setting(
        "",
        group="Network",
        help="TLS certificate chain, PEM; with --keyfile it turns HTTPS on.",
        metavar="FILE",
        default_text="no TLS",
    )
    keyfile: str = _setting(
        "",
        group="Network",
        help="Private key of the TLS certificate, PEM.",
        metavar="FILE",
        default_text="no TLS",
    )
    cors_origins: tuple[str, ...] = _setting(
        (),
        group="Network",
        help="Origin whose web pages may call the server, or *; may be repeated.",
        metavar="ORIGIN",
        flag="--cors-origin",
        default_text="none",
    )
    keep_alive_seconds: float = _setting(
        15.0,
        group="Network",
        help="Seconds of silence on a stream after which a comment line keeps it open.",
        metavar="SECONDS",
        low=0.1,
    )

    api_key_file: str = _setting(
        "",
        group="Access",
        help="File of accepted API keys, one a line; # starts a comment. "
        "PARLANCE_API_KEY adds one more key.",
        metavar="FILE",
        default_text="no keys: anyone who reaches the port may ask",
    )
    api_key: str = _setting(
        "", group="Access", help="An accepted API key.", secret=True, default_text="none"
    )

    max_body_bytes: int = _setting(
        4 * 1024 * 1024,
        group="Limits",
        help="Largest request body, in bytes; a larger one answers 413.",
        metavar="BYTES",
        low=1024,
    )
    max_choices: int = _setting(
        128,
        group="Limits",
        help="Largest n of a request.",
        metavar="COUNT",
        low=1,
        high=128,
    )
    max_grammar_bytes: int = _setting(
        128 * 1024,
        group="Limits",
        help="Largest JSON schema or grammar of a request, in bytes; a larger one answers 400.",
        metavar="BYTES",
        low=1024,
    )
    grammar_seconds: float = _setting(
        1.0,
        group="Limits",
        help="Most seconds of a core that compiling the schemas and grammars of a request may "
        "take; beyond it answers 400.",
        metavar="SECONDS",
        low=0.1,
    )
    queue_limit: int = _setting(
        512,
        group="Limits",
        help="Choices that may wait for a row; beyond it a request answers 429.",
        metavar="COUNT",
        low=1,
    )

    mesh: str = _setting(
        "",
        group="Engine",
        help="Devices to divide the rows by and to divide the model by, like data=2,model=4.",
        metavar="MESH",
        default_text="all devices: on model as far as the model allows, the rest on data",
    )
    rows: int = _setting(
        64,
        group="Engine",
        help="Choices generated at the same time.",
        metavar="COUNT",
        low=1,
        high=4096,
    )
    context: int = _setting(
        0,
        group="Engine",
        help="Most tokens that a prompt and its answer have together.",
        metavar="TOKENS",
        low=0,
        default_text="0: what the model was made for",
    )
    page_size: int = _setting(
        16,
        group="Engine",
        help="Tokens in one page of the key-value cache.",
        metavar="TOKENS",
        low=1,
    )
    cache_tokens: int = _setting(
        0,
        group="Engine",
        help="Tokens that the key-value cache holds for all rows together.",
        metavar="TOKENS",
        low=0,
        default_text="0: a full context for every row, bounded by memory",
    )
    prefill_chunk: int = _setting(
        256,
        group="Engine",
        help="Prompt tokens computed in one step; running answers wait that long at most.",
        metavar="TOKENS",
        low=1,
    )
    schema_in_prompt: bool = _setting(
        True,
        group="Model",
        help="Show the model the JSON schema that its answer must follow, in the system part.",
    )
    deterministic: bool = _setting(
        False,
        group="Engine",
        help="The same seed gives the same bytes under any load, at some cost in speed.",
    )
    compile_cache: str = _setting(
        _default_compile_cache,
        group="Engine",
        help="Directory that keeps compiled programs for the next start; off for none.",
        metavar="DIRECTORY",
    )

    coordinator: str = _setting(
        "",
        group="Hosts",
        help="Where the processes of one server on several hosts meet: an address of process 0 "
        "and a free port there.",
        metavar="HOST:PORT",
        default_text="one host, or the TPU slice that this host belongs to",
    )
    num_processes: int = _setting(
        0,
        group="Hosts",
        help="Processes of the server, one on each host; 1 leaves the others of a slice alone.",
        metavar="COUNT",
        low=0,
        default_text="0: one, or the hosts of the TPU slice",
    )
    process_id: int = _setting(
        -1,
        group="Hosts",
        help="Which of them this one is, from 0; process 0 serves HTTP.",
        metavar="INDEX",
        low=-1,
        default_text="found with the TPU slice",
    )

    drain_seconds: float = _setting(
        30.0,
        group="Operation",
        help="Seconds that running answers get to end after SIGTERM or Ctrl-C.",
        metavar="SECONDS",
        low=0,
    )
    exit_on_engine_death: bool = _setting(
        True,
        group="Operation",
        help="End the process with code 1 when the engine fails, so that a supervisor restarts it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info",
        group="Operation",
        help="Least severe messages to log, on standard error.",
    )

    def __post_init__(self) -> None:
        if bool(self.certfile) != bool(self.keyfile):
            given, missing = ("certfile", "keyfile") if self.certfile else ("keyfile", "certfile")
            raise ConfigError(f"{given} is set without {missing}; TLS needs both, or neither")
        self._check_processes()

    def _check_processes(self) -> None:
        if not self.coordinator:
            if self.num_processes > 1 or self.process_id >= 0:
                raise ConfigError(
                    "num_processes and process_id say nothing without coordinator; give all three, "
                    "or none on a TPU slice"
                )
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or ":" in host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"coordinator is {self.coordinator!r}; it must be a name or IPv4 address and a "
                f"port, like 10.0.0.2:8476"
            )
        if not 0 <= self.process_id < self.num_processes or self.num_processes < 2:
            raise ConfigError(
                f"coordinator is set with num_processes {self.num_processes} and process_id "
                f"{self.process_id}; there must be 2 processes or more, numbered from 0"
            )

    @property
    def served_id(self) -> str:
        """Name that requests give in `model`."""
        if self.model_id:
            return self.model_id
        model = self.model.resolve()
        return BUNDLED_MODEL_ID if model == bundled_model().resolve() else model.name

    @property
    def compile_cache_directory(self) -> Path | None:
        """Where compiled programs are kept, or None when they are not."""
        if self.compile_cache in ("", "off"):
            return None
        return Path(self.compile_cache).expanduser()

    @property
    def scheme(self) -> str:
        """`https` where TLS is on, else `http`."""
        return "https" if self.certfile else "http"


def settings() -> dict[str, tuple[Field[Any], Setting]]:
    """Name → (field, explanation) of every setting, in the order of the help."""
    return {
        entry.name: (entry, cast("Setting", entry.metadata[_SETTING]))
        for entry in fields(ServeConfig)
    }


def environment_name(name: str) -> str:
    """Environment variable of the setting called `name`."""
    return f"PARLANCE_{name.upper()}"


def flag_name(name: str) -> str:
    """Flag of the setting called `name`; empty where only the environment sets it."""
    explained = settings()[name][1]
    if explained.secret:
        return ""
    return explained.flag or "--" + name.replace("_", "-")


def read_api_keys(config: ServeConfig) -> frozenset[str]:
    """The accepted API keys: those of the file, and the one of the environment.

    Raises:
        ConfigError: the file cannot be read, or holds no key.
    """
    keys = {config.api_key} if config.api_key else set[str]()
    if config.api_key_file:
        try:
            lines = Path(config.api_key_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"api_key_file {config.api_key_file} cannot be read ({error}); "
                f"give a text file with one key a line"
            ) from error
        stripped = (line.strip() for line in lines)
        found = {line for line in stripped if line and not line.startswith("#")}
        if not found:
            raise ConfigError(
                f"api_key_file {config.api_key_file} holds no key; write one key a line"
            )
        keys |= found
    return frozenset(keys)

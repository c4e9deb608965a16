"""The settings of `parlance serve`: their names, meanings, defaults and bounds, once.

The command line, the environment variables, the TOML keys and the help are all made from
these fields (`setting_names.py`, `options.py`). Knows nothing of where a value came from, nor of
the engine.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from serve.model_names import BUNDLED_MODEL_ID, bundled_model, name_of
from serve.setting_field import setting
from serve.thought_fields import REASONING_BUDGETS
from serve.user_directories import user_directory

# Of a request's body, where it is not set: what conversations take, and some photographs beside.
BODY_BYTES = 4 * 2**20
SEEING_BODY_BYTES = 32 * 2**20


class ConfigError(ValueError):
    """Settings that cannot hold together; the message says which and what is allowed."""


def expanded(path: Path | str) -> Path:
    """The path, with a home directory where it begins with `~` or `~name`.

    Raises:
        ConfigError: there is no such home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path} begins with a home directory, and this user has none; write the whole path"
            if str(path).partition("/")[0] == "~"
            else f"{path} begins with the home directory of a user that is not there; write the "
            f"whole path"
        ) from error


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Its port is read here, and may be none.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def default_compile_cache() -> str:
    """Below the user's caches; `off` for a user without a home directory."""
    caches = user_directory("XDG_CACHE_HOME", "~/.cache")
    return "off" if caches is None else str(caches / "xla")


def default_store() -> str:
    """Below the user's data; `off` for a user without a home directory."""
    data = user_directory("XDG_DATA_HOME", "~/.local/share")
    return "off" if data is None else str(data / "store.sqlite")


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Every setting of the server, resolved once at start-up.

    Each field's `Setting` explains it; `parlance serve --help` prints the same text.

    Raises:
        ConfigError: settings that contradict each other.
    """

    model: Path = setting(  # noqa: RUF009  (it is a field(); ruff does not know Path immutable)
        bundled_model,
        group="Model",
        help="Directory of a checkpoint; a GGUF file; a model on the hub, as ORG/NAME[@REVISION] "
        "or ORG/NAME[@REVISION]:FILE.gguf; or a name of the catalogue, which parlance models "
        "lists.",
        metavar="MODEL",
        default_text="the bundled model",
    )
    model_id: str = setting(
        "",
        group="Model",
        help="Name under which requests ask for the model.",
        metavar="NAME",
        default_text=f"{BUNDLED_MODEL_ID} for the bundled model, the model's id for one of the "
        "hub, else the name of the catalogue, the GGUF file or the directory",
    )
    aliases: tuple[str, ...] = setting(
        (),
        group="Model",
        help="A further name for the model; may be repeated.",
        metavar="NAME",
        flag="--alias",
        default_text="none",
    )
    adapters: tuple[str, ...] = setting(
        (),
        group="Model",
        help="A LoRA adapter of the model, in a directory that PEFT wrote, and the name under "
        "which requests ask for it; may be repeated.",
        metavar="NAME=DIRECTORY",
        flag="--adapter",
        default_text="none",
    )
    chat_template: str = setting(
        "",
        group="Model",
        help="File of a jinja2 chat template, or name of one of the checkpoint's templates.",
        metavar="FILE",
        default_text="the checkpoint's default template",
    )
    tokenizer: str = setting(
        "",
        group="Model",
        help="Directory with the tokenizer to use, and what belongs to it: chat templates, and "
        "what ends a turn.",
        metavar="DIR",
        default_text="the model's own",
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
    ] = setting(
        "auto",
        group="Model",
        help="How the model writes calls of tools; auto tells it from the chat template.",
    )
    reasoning_format: Literal["auto", "none", "think", "mistral", "gpt-oss"] = setting(
        "auto",
        group="Model",
        help="How the model marks its thoughts; auto tells it from the chat template, and with "
        "none they are text like any other.",
    )
    reasoning_budgets: str = setting(
        "",
        group="Model",
        help="Tokens that may be thought at a level of reasoning_effort, where the chat template "
        "has no variable for levels; those that are not named keep their default.",
        metavar="LEVEL=TOKENS,…",
        default_text=",".join(f"{level}={tokens}" for level, tokens in REASONING_BUDGETS.items()),
    )
    show_reasoning: bool = setting(
        False,
        group="Model",
        help="Tell clients what the model thought, as reasoning_content.",
    )
    sampling_defaults: Literal["api", "model"] = setting(
        "api",
        group="Model",
        help="What holds where a request is silent: the API's defaults, or as far as it has them "
        "the temperature, top_p, top_k, min_p and repetition_penalty of the checkpoint's "
        "generation_config.json.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        group="Model",
        help="Number format of the weights; auto is float32 on CPU, bfloat16 on accelerators.",
    )
    weights: Literal["full", "float32", "bfloat16", "int8", "fp8", "int4"] = setting(
        "full",
        group="Model",
        help="How the layers' matrices are kept, of whatever checkpoint: full is as --dtype says; "
        "int8, fp8 and int4 take a half or a quarter of bfloat16's memory and change the answers.",
    )
    cache_dtype: Literal["auto", "bfloat16", "fp8", "int8"] = setting(
        "auto",
        group="Model",
        help="Number format of cached keys and values; auto is that of --dtype; fp8 (e4m3), and "
        "int8 with a scale for each token and head, take half of bfloat16's memory.",
    )

    host: str = setting(
        "127.0.0.1",
        group="Network",
        help="Address to listen on; 0.0.0.0 or :: for all interfaces.",
        metavar="ADDRESS",
    )
    port: int = setting(
        8000,
        group="Network",
        help="TCP port to listen on; 0 takes a free one.",
        metavar="PORT",
        low=0,
        high=65535,
    )
    certfile: str = setting(
        "",
        group="Network",
        help="TLS certificate chain, PEM; with --keyfile it turns HTTPS on.",
        metavar="FILE",
        default_text="no TLS",
    )
    keyfile: str = setting(
        "",
        group="Network",
        help="Private key of the TLS certificate, PEM.",
        metavar="FILE",
        default_text="no TLS",
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        group="Network",
        help="Origin whose web pages may call the server, or *; may be repeated.",
        metavar="ORIGIN",
        flag="--cors-origin",
        default_text="none",
    )
    keep_alive_seconds: float = setting(
        15.0,
        group="Network",
        help="Seconds of silence on a stream after which a comment line keeps it open.",
        metavar="SECONDS",
        low=0.1,
    )

    api_key_file: str = setting(
        "",
        group="Access",
        help="File of accepted API keys, one a line; # starts a comment. "
        "PARLANCE_API_KEY adds one more key.",
        metavar="FILE",
        default_text="no keys: anyone who reaches the port may ask",
    )
    api_key: str = setting(
        "", group="Access", help="An accepted API key.", secret=True, default_text="none"
    )
    priority_keys: str = setting(
        "",
        group="Access",
        help="File of those API keys whose requests may have the service tier priority, one a "
        "line; others get default.",
        metavar="FILE",
        default_text="everybody may",
    )

    content_filter: str = setting(
        "",
        group="Content",
        help="File of words and regexes that requests or answers may not have, TOML; see "
        "docs/content-filter.md.",
        metavar="FILE",
        default_text="none",
    )
    moderation_url: str = setting(
        "",
        group="Content",
        help="Address of a server of the moderation API, which judges requests and, before they "
        "are told, answers: like http://127.0.0.1:9000/v1/moderations.",
        metavar="URL",
        default_text="none",
    )
    moderation_key: str = setting(
        "",
        group="Content",
        help="API key for the server that judges.",
        secret=True,
        default_text="none",
    )
    moderation_seconds: float = setting(
        5.0,
        group="Content",
        help="Seconds after which the server that judges counts as not answering.",
        metavar="SECONDS",
        low=0.1,
    )
    moderation_unanswered: Literal["refuse", "allow"] = setting(
        "refuse",
        group="Content",
        help="What becomes of texts that it has not judged: refuse answers 503, allow lets them "
        "pass.",
    )
    refusals: bool = setting(
        False,
        group="Content",
        help="Let the model refuse where its answer must follow a strict schema: it may write one "
        "sentence instead, which is told as the refusal.",
    )

    max_body_bytes: int = setting(
        0,
        group="Limits",
        help="Largest request body, in bytes; a larger one answers 413.",
        metavar="BYTES",
        low=0,
        default_text=f"0: {BODY_BYTES:,}; {SEEING_BODY_BYTES:,} where it sees or hears",
        beyond="413 `request_too_large`",
        why="A body is held in memory while it is read.",
    )
    max_choices: int = setting(
        128,
        group="Limits",
        help="Largest n of a request.",
        metavar="COUNT",
        low=1,
        high=128,
        beyond="400 `integer_above_max_value`",
        why="One request may ask for so much.",
    )
    max_grammar_bytes: int = setting(
        128 * 1024,
        group="Limits",
        help="Largest JSON schema or grammar of a request, in bytes; a larger one answers 400.",
        metavar="BYTES",
        low=1024,
        beyond="400 `invalid_value`",
        why="Reading a schema takes time that grows with it.",
    )
    grammar_seconds: float = setting(
        1.0,
        group="Limits",
        help="Most seconds of a core that compiling the schemas and grammars of a request may "
        "take; beyond it answers 400.",
        metavar="SECONDS",
        low=0.1,
        beyond="400 `invalid_value`",
        why="A few bytes of grammar can keep a compiler busy for hours.",
    )
    max_answer_tokens: int = setting(
        0,
        group="Limits",
        help="Most tokens of each answer to a request that sends no bound of its own.",
        metavar="TOKENS",
        low=0,
        default_text="0: what the context leaves",
        beyond="an answer ends with `length`",
        why="A model that does not end by itself would fill the context.",
    )
    queue_limit: int = setting(
        512,
        group="Limits",
        help="Choices that may wait while all rows are taken; beyond it a request answers 429, "
        "unless its caller has less than its share.",
        metavar="COUNT",
        low=1,
        beyond="429 `queue_full` with `Retry-After`",
        why="Whoever would wait for long learns it at once.",
    )
    fetch_images: bool = setting(
        False,
        group="Content",
        help="Fetch images that requests name by http or https, from addresses of the public "
        "internet alone.",
    )
    max_images: int = setting(
        64,
        group="Limits",
        help="Most images of a request, without the pages of its files.",
        metavar="COUNT",
        low=1,
        high=1024,
        beyond="400 `array_above_max_length`",
        why="Each is decoded, and kept in memory until the model has seen it.",
    )
    max_image_bytes: int = setting(
        20 * 1024 * 1024,
        group="Limits",
        help="Largest file of an image, in bytes; one in a request is bounded by max_body_bytes "
        "too, and takes a third more there.",
        metavar="BYTES",
        low=1024,
        beyond="413 `image_file_too_large`",
        why="It is held in memory while it is decoded.",
    )
    max_image_pixels: int = setting(
        50_000_000,
        group="Limits",
        help="Most pixels of an image.",
        metavar="PIXELS",
        low=1024,
        beyond="413 `image_too_large`",
        why="A small file may unfold to any size; a pixel takes up to 14 bytes while it does.",
    )
    max_audio_bytes: int = setting(
        25 * 1024 * 1024,
        group="Limits",
        help="Largest file of a recording, in bytes; it is bounded by max_body_bytes too, and "
        "takes a third more there.",
        metavar="BYTES",
        low=1024,
        beyond="413 `audio_too_large`",
        why="It is held in memory while it is decoded.",
    )
    max_audio_seconds: int = setting(
        600,
        group="Limits",
        help="Most seconds that the recordings of a request last together.",
        metavar="SECONDS",
        low=1,
        beyond="413 `audio_too_large`",
        why="Hearing them takes time; a small file may last for hours.",
    )
    max_document_bytes: int = setting(
        16 * 1024 * 1024,
        group="Limits",
        help="Largest file that is shown to the model, in bytes.",
        metavar="BYTES",
        low=1024,
        beyond="413 `file_too_large`",
        why="It is held in memory while it is read.",
    )
    max_document_pages: int = setting(
        100,
        group="Limits",
        help="Most pages of a PDF that is shown to the model.",
        metavar="COUNT",
        low=1,
        beyond="413 `file_too_large`",
        why="Each takes time to read, and as many tokens as a page has.",
    )
    max_document_characters: int = setting(
        400_000,
        group="Limits",
        help="Most characters of the files of a request together.",
        metavar="COUNT",
        low=1,
        beyond="413 `file_too_large`",
        why="They would not fit the context; to find that out takes time.",
    )
    rate_limit: str = setting(
        "",
        group="Limits",
        help="Requests and tokens a minute of each API key, or where there are no keys of each "
        "address; a request beyond them answers 429.",
        metavar="REQUESTS,TOKENS",
        default_text="any number",
        beyond="429 `rate_limit_exceeded` with `Retry-After`",
        why="What a caller may have is agreed on with it, whatever the server could do.",
    )

    speech_model: str = setting(
        "",
        group="Sound",
        help="Directory of a Whisper checkpoint as the hub has it, which hears the recordings of "
        "requests.",
        metavar="DIR",
        default_text="none: recordings answer 400",
    )
    voices: str = setting(
        "",
        group="Sound",
        help="TOML file of the voices that speak answers, before those that espeak-ng brings; off "
        "for none.",
        metavar="FILE|off",
        default_text="those of espeak-ng, where it is installed",
    )
    voice_processes: int = setting(
        1,
        group="Sound",
        help="Processes that speak; each speaks one sentence at a time.",
        metavar="COUNT",
        low=1,
        high=64,
        beyond="waits for its turn",
        why="They compute on the cores that serve.",
    )
    max_spoken_seconds: int = setting(
        1_800,
        group="Sound",
        help="Most seconds of sound of all choices of an answer that is not streamed.",
        metavar="SECONDS",
        low=1,
        beyond="400 `audio_too_large`",
        why="It is held in memory until all of it is spoken.",
    )
    audio_seconds: int = setting(
        3_600,
        group="Sound",
        help="Seconds for which a later turn may name a spoken answer by its id.",
        metavar="SECONDS",
        low=1,
        beyond="400 `audio_not_found`",
        why="What it said is kept for so long.",
    )

    search_url: str = setting(
        "",
        group="Search",
        help="Address of a SearXNG server, for requests with web_search_options.",
        metavar="URL",
        default_text="none: such requests answer 400",
    )
    search_index: str = setting(
        "",
        group="Search",
        help="Directory with an index that parlance index has made, or the file of one, to search "
        "instead.",
        metavar="PATH",
        default_text="none",
    )
    search_seconds: float = setting(
        5.0,
        group="Search",
        help="Most seconds that a search may take; then the request is answered without one.",
        metavar="SECONDS",
        low=0.1,
        beyond="`x-parlance-no-search: timeout`",
        why="Whoever asks waits for it.",
    )
    search_language: str = setting(
        "",
        group="Search",
        help="Language that the SearXNG server is asked for, like de or de-AT.",
        metavar="LANGUAGE",
        default_text="its own",
    )

    flex_patience: int = setting(
        32,
        group="Engine",
        help="Rows that requests of higher service tiers get while one of a lower waits, until "
        "one of the lower goes first.",
        metavar="COUNT",
        low=1,
    )
    mesh: str = setting(
        "",
        group="Engine",
        help="Devices to divide the rows by and to divide the model by, like data=2,model=4.",
        metavar="MESH",
        default_text="all devices: on model as far as the model allows, the rest on data",
    )
    rows: int = setting(
        64,
        group="Engine",
        help="Choices generated at the same time.",
        metavar="COUNT",
        low=1,
        high=4096,
        beyond="waits in the queue",
        why="The memory of the device, and the time of a step.",
    )
    context: int = setting(
        0,
        group="Engine",
        help="Most tokens that a prompt and its answer have together.",
        metavar="TOKENS",
        low=0,
        default_text="0: what the model was made for",
        beyond="400 `context_length_exceeded`; an answer ends with `length`",
        why="What the model was made for, and the memory of its cache.",
    )
    page_size: int = setting(
        16,
        group="Engine",
        help="Tokens in one page of the key-value cache.",
        metavar="TOKENS",
        low=1,
    )
    cache_tokens: int = setting(
        0,
        group="Engine",
        help="Tokens that the key-value cache holds for all rows together.",
        metavar="TOKENS",
        low=0,
        default_text="0: all rows' contexts as memory allows; on a CPU 256 a row or two contexts",
        beyond="waits, or is put back and computed anew",
        why="The memory of the device.",
    )
    prefill_chunk: int = setting(
        256,
        group="Engine",
        help="Prompt tokens computed in one step; running answers wait that long at most.",
        metavar="TOKENS",
        low=1,
        beyond="is computed in several steps",
        why="A long prompt would hold up running answers for as long as it takes.",
    )
    prefill_beside: int = setting(
        0,
        group="Engine",
        help="Tokens of a step that computes prompts beside running answers.",
        metavar="TOKENS",
        low=0,
        default_text="0: a quarter of prefill_chunk on a CPU, else as many",
        beyond="is computed in several steps",
        why="Whoever reads an answer waits for such a step; it is longer where more prompts wait.",
    )
    image_cache_bytes: int = setting(
        0,
        group="Engine",
        help="Device memory for what the model has seen in images, in bytes.",
        metavar="BYTES",
        low=0,
        default_text="0: 256 MiB, and no more than as many tokens as the cache has",
        beyond="is forgotten, and looked at anew when it comes again",
        why="The memory of the device; one image at least.",
    )
    host_cache_bytes: int = setting(
        0,
        group="Prompt cache",
        help="Host memory for pages that have left the device's key-value cache, in bytes.",
        metavar="BYTES",
        low=0,
        default_text="0: none",
        beyond="is forgotten, and computed anew",
        why="The memory of the host.",
    )
    cache_dir: str = setting(
        "",
        group="Prompt cache",
        help="Directory for the pages of requests with prompt_cache_retention 24h; one server "
        "at a time.",
        metavar="DIRECTORY",
        default_text="none: such requests answer 400",
    )
    cache_dir_bytes: int = setting(
        16 * 2**30,
        group="Prompt cache",
        help="What the files of --cache-dir may take, in bytes; the longest unused go first.",
        metavar="BYTES",
        low=2**20,
        beyond="is deleted, and computed anew",
        why="The room on the disk.",
    )
    share_cache_between_keys: bool = setting(
        False,
        group="Prompt cache",
        help="Find the beginnings of prompts also where another API key sent them: what is found "
        "tells one caller of another's prompts.",
    )
    schema_in_prompt: bool = setting(
        True,
        group="Model",
        help="Show the model the JSON schema that its answer must follow, in the system part.",
    )
    deterministic: bool = setting(
        False,
        group="Engine",
        help="The same seed gives the same bytes under any load, at some cost in speed.",
    )
    speculate: Literal["off", "ngram"] = setting(
        "off",
        group="Engine",
        help="What is drafted of answers that nobody predicts, to verify several tokens in a step; "
        "ngram is what came after the same tokens before, in the prompt or the answer.",
    )
    compile_cache: str = setting(
        default_compile_cache,
        group="Engine",
        help="Directory that keeps compiled programs for the next start; off for none.",
        metavar="DIRECTORY",
    )

    store: str = setting(
        default_store,
        group="Store",
        help="Where completions with store: true and files are kept: a file for SQLite, the "
        "address of a PostgreSQL database that servers share, or off.",
        metavar="FILE|URL|off",
    )
    store_days: int = setting(
        30,
        group="Store",
        help="Days after which stored completions and files are deleted.",
        metavar="DAYS",
        low=1,
        high=36_500,
        beyond="is deleted",
        why="What nobody deletes would fill the disk.",
    )
    store_bytes: int = setting(
        10 * 1024**3,
        group="Store",
        help="Most bytes of all stored completions and files.",
        metavar="BYTES",
        low=1,
        beyond="503 `store_full` before generating",
        why="The disk has other uses.",
    )
    max_file_bytes: int = setting(
        64 * 1024**2,
        group="Store",
        help="Largest file that may be uploaded, in bytes; a larger one answers 413.",
        metavar="BYTES",
        low=1,
        beyond="413 `request_too_large`",
        why="One upload may take so much of the disk.",
    )
    max_files_bytes: int = setting(
        1024**3,
        group="Store",
        help="Most bytes of the files of one API key together.",
        metavar="BYTES",
        low=1,
        beyond="400 `files_too_large`",
        why="Callers share the disk.",
    )

    coordinator: str = setting(
        "",
        group="Hosts",
        help="Where the processes of one server on several hosts meet: an address of process 0 "
        "and a free port there.",
        metavar="HOST:PORT",
        default_text="one host, or the TPU slice that this host belongs to",
    )
    num_processes: int = setting(
        0,
        group="Hosts",
        help="Processes of the server, one on each host; 1 leaves the others of a slice alone.",
        metavar="COUNT",
        low=0,
        default_text="0: one, or the hosts of the TPU slice",
    )
    process_id: int = setting(
        -1,
        group="Hosts",
        help="Which of them this one is, from 0; process 0 serves HTTP.",
        metavar="INDEX",
        low=-1,
        default_text="found with the TPU slice",
    )

    drain_seconds: float = setting(
        30.0,
        group="Operation",
        help="Seconds that running answers get to end after SIGTERM or Ctrl-C.",
        metavar="SECONDS",
        low=0,
        beyond="is broken off",
        why="A server that is told to end does end.",
    )
    exit_on_engine_death: bool = setting(
        True,
        group="Operation",
        help="End the process with code 1 when the engine fails, so that a supervisor restarts it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        group="Operation",
        help="Least severe messages to log, on standard error.",
    )

    def __post_init__(self) -> None:
        if bool(self.certfile) != bool(self.keyfile):
            given, missing = ("certfile", "keyfile") if self.certfile else ("keyfile", "certfile")
            raise ConfigError(f"{given} is set without {missing}; TLS needs both, or neither")
        if self.deterministic and self.speculate != "off":
            raise ConfigError(
                f"speculate is {self.speculate!r} with deterministic, which drafts nothing; leave "
                f"one of them out"
            )
        if self.priority_keys and not (self.api_key_file or self.api_key):
            raise ConfigError(
                "priority_keys says nothing without API keys; set api_key_file, or leave it out"
            )
        if self.moderation_url and not self.moderation_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"moderation_url is {self.moderation_url!r}; it must begin with http:// or https://"
            )
        if self.search_url and not _is_web_address(self.search_url):
            raise ConfigError(
                f"search_url is {self.search_url!r}; give an address such as http://searxng:8080"
            )
        if self.search_url and self.search_index:
            raise ConfigError(
                "search_url and search_index name two places to search; leave one of them out"
            )
        _ = self.most_a_minute, self.thinking_budgets
        self._check_processes()
        self._check_adapters()

    def _check_adapters(self) -> None:
        names: set[str] = set()
        for each in self.adapters:
            name, _, directory = each.partition("=")
            if not name or not directory:
                raise ConfigError(
                    f"adapter is {each!r}; it must be a name and a directory, like "
                    f"sql=/models/sql-adapter"
                )
            if name in names:
                raise ConfigError(f"adapter names {name!r} twice; give each a name of its own")
            names.add(name)

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
        return self.model_id or name_of(self.model)

    @property
    def adapter_directories(self) -> dict[str, Path]:
        """Directories of the adapters by name.

        Raises:
            ConfigError: one has a name of the model, or begins with a home directory that is not
                there.
        """
        found: dict[str, Path] = {}
        for each in self.adapters:
            name, _, directory = each.partition("=")
            if name in (self.served_id, *self.aliases):
                raise ConfigError(
                    f"adapter names {name!r}, which is a name of the model; give it another"
                )
            found[name] = expanded(directory)
        return found

    @property
    def most_a_minute(self) -> tuple[int, int] | None:
        """Requests and tokens that each caller may have in a minute; None for any number.

        Raises:
            ConfigError: they are not two numbers.
        """
        if not self.rate_limit:
            return None
        numbers = [part.strip() for part in self.rate_limit.split(",")]
        if len(numbers) != 2 or not all(each.isdecimal() and int(each) for each in numbers):
            raise ConfigError(
                f"rate_limit is {self.rate_limit!r}; it must be requests and tokens a minute, "
                f"each at least 1, like 60,100000"
            )
        requests, tokens = map(int, numbers)
        return requests, tokens

    @property
    def thinking_budgets(self) -> dict[str, int]:
        """Level of effort → tokens that may be thought.

        Raises:
            ConfigError: one is no level with a number.
        """
        budgets = dict(REASONING_BUDGETS)
        for each in filter(None, self.reasoning_budgets.split(",")):
            level, _, tokens = (part.strip() for part in each.partition("="))
            if level not in budgets or not tokens.isdecimal():
                raise ConfigError(
                    f"reasoning_budgets has {each!r}; each must be one of {', '.join(budgets)} "
                    f"and a number of tokens, like low=512"
                )
            budgets[level] = int(tokens)
        return budgets

    @property
    def tokenizer_directory(self) -> Path:
        """Where the tokenizer is, chat templates, and what ends a turn."""
        return Path(self.tokenizer) if self.tokenizer else self.model

    @property
    def compile_cache_directory(self) -> Path | None:
        """Where compiled programs are kept, or None when they are not.

        Raises:
            ConfigError: it begins with a home directory that is not there.
        """
        return None if self.compile_cache in ("", "off") else expanded(self.compile_cache)

    @property
    def store_place(self) -> str:
        """The store's file with its whole path, or its address, or `off`.

        Raises:
            ConfigError: it begins with a home directory that is not there.
        """
        if self.store in ("", "off") or "://" in self.store:
            return self.store or "off"
        return str(expanded(self.store).absolute())

    @property
    def content_filter_file(self) -> Path | None:
        """The file of the content filter, if there is one.

        Raises:
            ConfigError: it begins with a home directory that is not there.
        """
        return expanded(self.content_filter) if self.content_filter else None

    @property
    def speech_directory(self) -> Path | None:
        """The directory of the speech model, if there is one.

        Raises:
            ConfigError: it begins with a home directory that is not there.
        """
        return expanded(self.speech_model) if self.speech_model else None

    @property
    def voices_file(self) -> Path | None:
        """The file of the voices, if there is one.

        Raises:
            ConfigError: it begins with a home directory that is not there.
        """
        return None if self.voices in ("", "off") else expanded(self.voices)

    @property
    def page_directory(self) -> Path | None:
        """Where pages are kept over restarts, or None when they are not.

        Raises:
            ConfigError: it begins with a home directory that is not there.
        """
        return expanded(self.cache_dir) if self.cache_dir else None

    @property
    def scheme(self) -> str:
        """`https` where TLS is on, else `http`."""
        return "https" if self.certfile else "http"

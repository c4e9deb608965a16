"""What a person who runs the server decides about its HTTP side. Frozen, resolved at start-up."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from serve.filter.moderation_settings import ModerationSettings
from serve.thought_fields import REASONING_BUDGETS

# Of the fields for which a checkpoint may recommend others.
API_DEFAULTS: dict[str, float] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}


def _random_key() -> bytes:
    return secrets.token_bytes(16)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Settings of the HTTP side.

    Attributes:
        model_id: the name that requests ask for and responses carry.
        aliases: other names that are served as the same model.
        adapters: names of the model's adapters, in the order of `EngineInfo.adapters`, and the
            directory that each is from.
        created: when the model was made, in seconds since 1970; shown by `/v1/models`.
        owned_by: shown by `/v1/models`.
        max_choices: the largest `n`.
        max_body_bytes: a longer request body is refused with 413.
        text_body_bytes: so much of it has the memory that the dearest text takes to be read, which
            pictures do not; 0 for all.
        max_json_depth: arrays and objects nested deeper in a body are refused.
        body_seconds: a body that has not arrived whole by then is refused with 408.
        free_body_bytes: so much of each body is read whatever the others take.
        held_body_bytes: what the bodies that are being read may take together beyond that.
        body_wait_seconds: a body for which there is no room by then is refused with 503.
        process_body_bytes: longer bodies are validated and tokenized in a process of their own,
            so that they do not hold up running streams: a shorter one takes two milliseconds.
        max_grammar_bytes: a larger JSON schema or grammar in a request is refused.
        grammar_seconds: one that takes longer to compile is refused.
        max_answer_tokens: bounds the answers to requests that ask for no bound; 0 for none but
            the context.
        sampling_defaults: what holds where a request is silent: a value for each field of
            `API_DEFAULTS`.
        moderation: who judges what requests and answers say; None for nobody.
        refusals: answers that must follow a strict schema may be refusals instead.
        schema_in_prompt: show the model the schema that its answer must follow.
        tool_format: how the model writes calls of tools: the name of a format, or `auto` for
            the one that its template tells.
        reasoning_format: how the model marks its thoughts: the name of a format, `auto` for the
            one that its template tells, or `none`.
        reasoning_budgets: level of effort → tokens that may be thought, where a template has no
            variable for it.
        show_reasoning: whether answers have the thoughts, as `reasoning_content`.
        api_keys: accepted keys; empty means that no key is asked for.
        priority_keys: those of them that may have the tier `priority`; empty for all.
        rate_limit: requests and tokens that each caller may have in a minute; None for any number.
        cors_origins: origins that browsers may call from, or `*`; empty switches CORS off.
        keep_alive_seconds: a stream without data for so long gets a comment.
        half_closed_seconds: the same for a client that has closed its sending side, so that
            one that has left is noticed.
        retry_after_seconds: what `Retry-After` says while the engine is not ready.
        store: where completions and files are kept: a file for SQLite, the address of a PostgreSQL
            database, or `off`.
        store_days: completions are deleted after so many, and files that name no time.
        store_bytes: that all completions and files may have.
        max_file_bytes: a longer file is refused with 413.
        max_files_bytes: that the files of one API key may have.
        fetch_images: whether pictures that requests name by an address of the web are fetched.
        max_images: that one request may have, without the pages of its files.
        max_image_bytes: of a picture's file.
        max_image_pixels: of a picture.
        max_document_bytes: of a file that is shown to the model.
        max_document_pages: of such a PDF.
        max_document_characters: of such a file, and of all of a request.
        max_audio_bytes: of a recording's file.
        max_audio_seconds: of all recordings of a request.
        max_spoken_seconds: of the sound of an answer that is told at once.
        audio_seconds: for which a later turn may name a spoken answer.
        share_cache_between_keys: find pages of a prompt also where another key sent it.
        keeps_pages: whether there is a directory of pages, for requests to be kept in.
        cache_scope_key: keys the hash of an API key under which its pages are found. The default
            is new in each process; with a directory of pages it is that one's.
        caller_hash_key: keys the hash under which callers appear in logs and metrics. The
            default is new in each process; give one to compare across restarts.
    """

    model_id: str
    aliases: tuple[str, ...] = ()
    adapters: Mapping[str, str] = field(default_factory=dict[str, str])
    created: int = 0
    owned_by: str = "parlance"
    max_choices: int = 128
    max_body_bytes: int = 8 * 2**20
    text_body_bytes: int = 0
    max_json_depth: int = 64
    # The longest body at 1.1 Mbit/s.
    body_seconds: float = 60.0
    # What conversations take; a connection's buffers hold some of these anyway.
    free_body_bytes: int = 64 * 2**10
    # 32 of the longest: a small part of the memory of a machine that serves a model.
    held_body_bytes: int = 256 * 2**20
    # Long enough for a burst to pass, short enough for whoever shares an HTTP/2 connection.
    body_wait_seconds: float = 5.0
    process_body_bytes: int = 4 * 2**10
    max_grammar_bytes: int = 128 * 2**10
    grammar_seconds: float = 1.0
    max_answer_tokens: int = 0
    sampling_defaults: Mapping[str, float] = field(default_factory=API_DEFAULTS.copy)
    moderation: ModerationSettings | None = None
    refusals: bool = False
    schema_in_prompt: bool = True
    tool_format: str = "auto"
    reasoning_format: str = "auto"
    reasoning_budgets: Mapping[str, int] = field(default_factory=REASONING_BUDGETS.copy)
    show_reasoning: bool = False
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    priority_keys: tuple[str, ...] = field(default=(), repr=False)
    rate_limit: tuple[int, int] | None = None
    cors_origins: tuple[str, ...] = ()
    keep_alive_seconds: float = 15.0
    half_closed_seconds: float = 1.0
    retry_after_seconds: int = 5
    store: str = "off"
    store_days: int = 30
    store_bytes: int = 10 * 2**30
    max_file_bytes: int = 64 * 2**20
    max_files_bytes: int = 2**30
    fetch_images: bool = False
    max_images: int = 64
    max_image_bytes: int = 20 * 2**20
    max_image_pixels: int = 50_000_000
    max_document_bytes: int = 16 * 2**20
    max_document_pages: int = 100
    max_document_characters: int = 400_000
    max_audio_bytes: int = 25 * 2**20
    max_audio_seconds: int = 600
    max_spoken_seconds: int = 1_800
    audio_seconds: int = 3_600
    share_cache_between_keys: bool = False
    keeps_pages: bool = False
    cache_scope_key: bytes = field(default_factory=_random_key, repr=False)
    caller_hash_key: bytes = field(default_factory=_random_key, repr=False)

    @property
    def served_names(self) -> tuple[str, ...]:
        """All names of the model, its own first, and of its adapters."""
        return (self.model_id, *self.aliases, *self.adapters)

    @property
    def stores(self) -> bool:
        """Whether there is a store."""
        return self.store not in ("", "off")

    def told_name(self, name: str) -> str:
        """The name in responses of the model that requests ask for by `name`."""
        return self.model_id if name in self.aliases else name

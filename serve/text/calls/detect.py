"""Which call format a model speaks, by the source of its chat template.

A template is looked through for what it writes into a conversation; the first rule that holds
decides. Knows nothing of tokenizers or of how a format works.
"""

from collections.abc import Callable

from serve.text.calls.format import CallFormat
from serve.text.calls.gemma3 import GEMMA3
from serve.text.calls.generic import GENERIC
from serve.text.calls.gpt_oss import GPT_OSS
from serve.text.calls.hermes import HERMES
from serve.text.calls.llama3 import LLAMA3
from serve.text.calls.mistral import MISTRAL, MISTRAL_ARGS, MISTRAL_IDS
from serve.text.calls.phi4_mini import FUNCTOOLS, PHI4_MINI

FORMATS: dict[str, CallFormat] = {
    format_.name: format_
    for format_ in (
        HERMES,
        LLAMA3,
        MISTRAL,
        MISTRAL_IDS,
        MISTRAL_ARGS,
        GEMMA3,
        PHI4_MINI,
        FUNCTOOLS,
        GPT_OSS,
        GENERIC,
    )
}


def _holds(*spellings: str, without: str | None = None) -> Callable[[str], bool]:
    return lambda source: (
        all(spelling in source for spelling in spellings)
        and (without is None or without not in source)
    )


_RULES: tuple[tuple[Callable[[str], bool], CallFormat], ...] = (
    (_holds("<|channel|>", "<|message|>"), GPT_OSS),
    (_holds("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"), MISTRAL_IDS),
    (_holds("[TOOL_CALLS]", "[ARGS]"), MISTRAL_ARGS),
    (_holds("[TOOL_CALLS]"), MISTRAL),
    (_holds("functools["), FUNCTOOLS),
    (_holds("<|tool|>"), PHI4_MINI),
    # Qwen3-Coder and GLM write XML between the same tags, which is another format.
    (_holds("<tool_call>", '"arguments":', without="<function="), HERMES),
    (_holds("ipython", '"parameters":'), LLAMA3),
    (_holds("<start_of_turn>"), GEMMA3),
)


def detect(template_source: str) -> CallFormat:
    """The format of the model that a chat template belongs to; `GENERIC` if it tells none."""
    return next((format_ for holds, format_ in _RULES if holds(template_source)), GENERIC)


def choose(name: str, template_source: str) -> CallFormat:
    """The format called `name`, or for `auto` the one that the template tells.

    Raises:
        ValueError: there is none of that name.
    """
    return detect(template_source) if name == "auto" else by_name(name)


def by_name(name: str) -> CallFormat:
    """The format that is called `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"there is no tool format {name!r}; choose one of {', '.join(FORMATS)}")
    return FORMATS[name]

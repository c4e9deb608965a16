"""Which way of marking thoughts a model has, by the source of its chat template.

The first rule that holds decides. Knows nothing of tokenizers.
"""

from serve.text.thoughts.format import ThoughtFormat

THINK = ThoughtFormat("think", "<think>", "</think>", empty="<think>\n\n</think>\n\n")
MISTRAL = ThoughtFormat("mistral", "[THINK]", "[/THINK]")
GPT_OSS = ThoughtFormat("gpt-oss", in_channels=True)

FORMATS = {format_.name: format_ for format_ in (THINK, MISTRAL, GPT_OSS)}

_RULES = (
    (("<|channel|>", "<|message|>"), GPT_OSS),
    (("[THINK]",), MISTRAL),
    (("</think>",), THINK),
)


def detect(template_source: str) -> ThoughtFormat | None:
    """The format of the model that a chat template belongs to; None if it tells none."""
    return next(
        (
            format_
            for spellings, format_ in _RULES
            if all(spelling in template_source for spelling in spellings)
        ),
        None,
    )


def choose(name: str, template_source: str) -> ThoughtFormat | None:
    """The format called `name`; for `auto` the one that the template tells, for `none` none.

    Raises:
        ValueError: there is none of that name.
    """
    if name in ("auto", "none"):
        return detect(template_source) if name == "auto" else None
    if name not in FORMATS:
        raise ValueError(
            f"there is no reasoning format {name!r}; choose one of auto, none, {', '.join(FORMATS)}"
        )
    return FORMATS[name]

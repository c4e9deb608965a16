"""How much a request has its model think: the template's variables, budgets, or not at all.

Knows nothing of how thoughts are marked, or followed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve.api.asking.conversation import Ending
from serve.api.wire.errors import ApiError, invalid
from serve.text.render import Renderer
from serve.text.thoughts.format import Beginning, ThoughtFormat

# Variables with which templates switch thoughts on and off, the most usual one first.
SWITCHES = ("enable_thinking", "thinking")
EFFORT = "reasoning_effort"


@dataclass(frozen=True, slots=True)
class AskedThoughts:
    """What a request asks of thoughts.

    Attributes:
        beginning: where its answers stand when the model begins.
        budget: tokens that may be thought; None for any number.
        none: whether nothing may be thought.
    """

    beginning: Beginning = "undecided"
    budget: int | None = None
    none: bool = False


UNASKED = AskedThoughts()


@dataclass(frozen=True, slots=True)
class Effort:
    """What a level of effort comes to with one model.

    Attributes:
        variables: of the template.
        budget: tokens that may be thought; None for any number.
        none: whether nothing may be thought.
    """

    variables: Mapping[str, object]
    budget: int | None = None
    none: bool = False


def asked_effort(
    level: str | None,
    given: Mapping[str, object],
    thoughts: ThoughtFormat | None,
    known: frozenset[str],
    budgets: Mapping[str, int],
) -> Effort:
    """What a request asks for, with all variables that its template gets.

    Args:
        level: `reasoning_effort`.
        given: `chat_template_kwargs`.
        thoughts: how the model marks them, if it has any.
        known: variables of the template.
        budgets: level → tokens that may be thought.

    Raises:
        ApiError: 400; the model has no way to honour the level, or the template no such variable.
    """
    for name in given:
        if name not in known:
            raise _unknown(name, known)
    effort = _effort(level, thoughts, known, budgets)
    for name in given:
        if name in effort.variables:
            raise invalid(
                "invalid_value",
                f"'reasoning_effort' sets the variable '{name}' of the model's template: send one "
                f"of the two.",
                f"chat_template_kwargs.{name}",
            )
    return Effort({**given, **effort.variables}, effort.budget, effort.none)


def begun(
    prompt: list[int],
    thoughts: ThoughtFormat | None,
    effort: Effort,
    ending: Ending,
    renderer: Renderer,
) -> tuple[list[int], AskedThoughts]:
    """A prompt, with what keeps its answers from thoughts if need be; and where they stand then."""
    if thoughts is None:
        return prompt, AskedThoughts("answering")
    beginning = thoughts.beginning(prompt, renderer.tokenizer)
    if ending.continue_final_message and beginning == "undecided":
        beginning = "answering"
    if effort.none and not thoughts.in_channels:
        if ending.add_generation_prompt and not ending.continue_final_message:
            switched = any(name in effort.variables for name in SWITCHES)
            words = thoughts.without(beginning, switched=switched)
            prompt = [*prompt, *renderer.own_ids(words)]
        beginning = "answering"
    return prompt, AskedThoughts(beginning, effort.budget, effort.none)


def _effort(
    level: str | None,
    thoughts: ThoughtFormat | None,
    known: frozenset[str],
    budgets: Mapping[str, int],
) -> Effort:
    switch = next((name for name in SWITCHES if name in known), None)
    if level is None:
        return Effort({})
    if level == "none":
        return Effort({} if switch is None else {switch: False}, none=True)
    if thoughts is None:
        raise _no_way(level, ["none"], "answers without thoughts")
    switched_on = {} if switch is None else {switch: True}
    if EFFORT in known:
        if level not in thoughts.levels:
            raise _no_way(level, ["none", *thoughts.levels], "knows no such level")
        return Effort({**switched_on, EFFORT: level})
    if thoughts.in_channels:
        raise _no_way(level, ["none"], "has a template that knows no levels")
    return Effort(switched_on, budgets[level])


def _no_way(level: str, levels: Sequence[str], why: str) -> ApiError:
    return invalid(
        "invalid_value",
        f"Invalid 'reasoning_effort': this model {why}. Supported values are: "
        f"{', '.join(map(repr, levels))}; got '{level}'.",
        "reasoning_effort",
    )


def _unknown(name: str, known: frozenset[str]) -> ApiError:
    has = f"has {', '.join(sorted(known))}" if known else "has none"
    shown = name if len(name) <= 64 else f"{name[:64]}…"
    return invalid(
        "unknown_parameter",
        f"Unknown variable: '{shown}'. Of variables that can be set the model's template {has}.",
        f"chat_template_kwargs.{shown}",
    )

"""A model's chat template: the messages of a conversation to the text it was trained on.

Knows nothing of tokens. The dialect is the one that checkpoints are published with: jinja2
with trimmed blocks, loop controls, `raise_exception`, `strftime_now` and a plain `tojson`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateError(ValueError):
    """A chat template that cannot be used; the message says where it is wrong."""


class ConversationError(ValueError):
    """A conversation that the model's template cannot render; the message says why."""


def _raise_exception(message: object) -> NoReturn:
    raise ConversationError(str(message))


def _strftime_now(layout: str) -> str:
    return datetime.now().astimezone().strftime(layout)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


class ChatTemplate:
    """A jinja2 template, run in jinja2's sandbox.

    Args:
        source: the template.
        variables: names that the template sees besides the conversation (`bos_token`, …).

    Attributes:
        knows_developer: whether the template tells the role `developer` from `system`.

    Raises:
        TemplateError: the source is not a valid template.
    """

    def __init__(self, source: str, variables: Mapping[str, str] | None = None) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
            extensions=["jinja2.ext.loopcontrols"],
        )
        environment.filters["tojson"] = _tojson
        try:
            self._template = environment.from_string(
                source,
                globals={"raise_exception": _raise_exception, "strftime_now": _strftime_now},
            )
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(
                f"line {error.lineno} of the chat template is wrong: {error.message}; "
                f"give the template that belongs to the checkpoint"
            ) from error
        self._variables = dict(variables or {})
        self.knows_developer = "developer" in source

    def render(
        self, messages: Sequence[Mapping[str, object]], *, add_generation_prompt: bool = True
    ) -> str:
        """The conversation as text, open for the assistant's next words if so asked.

        Raises:
            ConversationError: the template refuses the conversation or fails on it.
        """
        try:
            return self._template.render(
                **self._variables,
                messages=messages,
                tools=None,
                add_generation_prompt=add_generation_prompt,
            )
        except (
            jinja2.TemplateError,
            TypeError,
            ArithmeticError,
            LookupError,
            AttributeError,
        ) as error:
            raise ConversationError(
                f"the model's chat template fails on these messages: {error}"
            ) from error

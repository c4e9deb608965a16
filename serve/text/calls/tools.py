"""The tools of one request, and what it asks to be done with them. Knows no format."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

# What the API allows: no character that a format could mistake for its own.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot name a tool; use 1 to 64 of the letters a-z and A-Z, digits, _ and -"
        )


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A tool that takes a JSON object.

    Attributes:
        name: what calls name it by.
        schema: JSON Schema of the arguments; None takes no arguments.
        strict: whether a keyword that cannot be enforced is an error rather than left out.
        description: what it does, for the model.
        lark: a grammar of the arguments in Lark, which holds in the schema's place.
    """

    name: str
    schema: Mapping[str, object] | None = None
    strict: bool = False
    description: str = ""
    lark: str | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True, slots=True)
class CustomTool:
    """A tool that takes text.

    Attributes:
        name: what calls name it by.
        lark: a Lark grammar of the text.
        regex: a regular expression of the whole text. With neither, any text will do.
        description: what it does, for the model.
    """

    name: str
    lark: str | None = None
    regex: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.lark is not None and self.regex is not None:
            raise ValueError(f"the tool {self.name!r} has a Lark grammar and a regex; give one")


Tool = FunctionTool | CustomTool


@dataclass(frozen=True, slots=True)
class Choice:
    """What `tool_choice` and `parallel_tool_calls` ask for.

    Attributes:
        mode: `auto` leaves it to the model, `required` wants a call, `none` wants none.
        name: the one tool that must be called, once; only with `required`.
        parallel: whether an answer may hold more than one call.
    """

    mode: Literal["auto", "required", "none"] = "auto"
    name: str | None = None
    parallel: bool = True

    def __post_init__(self) -> None:
        if self.name is not None and self.mode != "required":
            raise ValueError(f"mode {self.mode!r} names the tool {self.name!r}; use 'required'")

    @property
    def several(self) -> bool:
        """Whether an answer may hold more than one call."""
        return self.parallel and self.name is None

    def allowed(self, tools: Sequence[Tool]) -> tuple[Tool, ...]:
        """The tools that may be called.

        Raises:
            ValueError: the named tool is not there, none is there to call, or two share a name.
        """
        names = [tool.name for tool in tools]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"more than one tool is called {twice[0]!r}; give each its own name")
        if self.mode == "none":
            return ()
        chosen = tuple(tool for tool in tools if self.name in (None, tool.name))
        if not chosen:
            raise ValueError(
                f"the tool {self.name!r} is not among {names}"
                if self.name is not None
                else f"mode {self.mode!r} needs at least one tool"
            )
        return chosen

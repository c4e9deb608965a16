"""Formats of calls with a vocabulary for each, and engines to run them on."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from support.real_house import RealHouse, real_house

# Prompts are short, for what they say does not matter to a random model.
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.content[:99] }}<|im_end|>{% endfor %}"
CHATML = ("<|im_start|>", "<|im_end|>")
HARMONY = ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>")
# Ids that hold all that each family adds to the bytes.
VOCABULARY = 272


@dataclass(frozen=True)
class Family:
    """A format and a vocabulary for it.

    Attributes:
        tool_format: its name.
        controls: control tokens beside ChatML's.
        pieces: tokens that begin calls, in ordinary characters.
        ends: spellings of what ends a turn.
        several: whether an answer may hold more than one call.
    """

    tool_format: str
    controls: tuple[str, ...] = ()
    pieces: tuple[bytes, ...] = ()
    ends: tuple[str, ...] = ("<|im_end|>",)
    several: bool = True


HERMES = Family("hermes", ("<tool_call>", "</tool_call>"))
FAMILIES = (
    HERMES,
    Family("generic", pieces=(b'<tool_call>\n{"name": "', b"\n</tool_call>", b"<tool_ca")),
    Family("llama3", ("<|python_tag|>",), (b'{"name": "',), several=False),
    Family("mistral", ("[TOOL_CALLS]",)),
    Family("mistral-args", ("[TOOL_CALLS]", "[ARGS]")),
    Family("mistral-ids", ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]")),
    Family("gemma3", pieces=(b'```tool_code\n{"name": "', b"```", b"\n```")),
    Family("phi4-mini", ("<|tool_call|>", "<|/tool_call|>")),
    Family("functools", pieces=(b'functools[{"name": "', b"functools")),
    Family("gpt-oss", HARMONY, ends=("<|im_end|>", "<|call|>"), several=False),
)


@dataclass
class Running:
    """An engine, and the vocabulary of a family."""

    family: Family
    tokenizer: Any
    engine: Any

    @classmethod
    def of(cls, family: Family, make_tokenizer: Any, engine: Any) -> "Running":
        """With a tokenizer that the fixture makes."""
        return cls(family, make_tokenizer(family.pieces, CHATML + family.controls), engine)

    def house(self, **settings: Any) -> AbstractAsyncContextManager[RealHouse]:
        """An application whose model writes calls as the family does."""
        ends = frozenset(self.tokenizer.controls[name] for name in self.family.ends)
        settings = {"tool_format": self.family.tool_format, **settings}
        return real_house(self.engine, self.tokenizer, TEMPLATE, ends, **settings)

    @property
    def bias(self) -> dict[str, float]:
        """Makes calls likely, and ends; a call has to be closed before the bound too."""
        liked = dict.fromkeys((*self.family.controls, *self.family.ends), 4.0)
        ids = {str(self.tokenizer.controls[name]): value for name, value in liked.items()}
        ids |= {str(256 + n): 5.0 for n in range(len(self.family.pieces))}
        return ids | {str(ord(character)): 3.0 for character in '"}]):'}

"""Answers of models that think, as each family writes them, and what is in them."""

import re
from dataclasses import dataclass
from typing import Any

from support.call_answers import Call

THINK = ("<think>", "</think>", "<tool_call>", "</tool_call>")
MISTRAL = ("[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]")
HARMONY = (
    *("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"),
    *("<|end|>", "<|call|>", "<|return|>"),
)
_TAGGED = '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>'
_GET = Call("get", "function", "{}", True)


@dataclass(frozen=True)
class Transcript:
    """What a model wrote.

    Attributes:
        title: what is special about it, and the test's name.
        format: of the thoughts.
        calls: the format of calls.
        written: the answer with its control tokens spelled out; a NUL breaks other spellings.
        controls: the spellings that are control tokens.
        thoughts, content, called: what a client gets.
        reasoning: how many tokens are thought, where each character is one.
        beginning: where the answer stands when the model begins.
        turn_ended: false where the answer was cut off.
    """

    title: str
    format: str
    written: str
    controls: tuple[str, ...]
    thoughts: str
    content: str
    called: tuple[Call, ...] = ()
    reasoning: int = 0
    beginning: str = "undecided"
    turn_ended: bool = True
    calls: str = "hermes"

    @property
    def pieces(self) -> list[tuple[bool, str]]:
        """Control tokens and characters, one by one: (is it a control token, its spelling)."""
        spellings = "|".join(map(re.escape, self.controls)) or "(?!)"
        found = re.findall(f"{spellings}|.", self.written, re.DOTALL)
        return [(piece in self.controls, piece) for piece in found if piece != "\0"]


def _think(controls: tuple[str, ...], title: str) -> list[Transcript]:
    """Qwen3 opens its thoughts itself; templates of DeepSeek-R1 and QwQ do."""

    def one(what: str, written: str, thoughts: str, content: str, **more: Any) -> Transcript:
        return Transcript(
            f"think, {title}: {what}", "think", written, controls, thoughts, content, **more
        )

    opened: Any = {"beginning": "thinking"}
    return [
        one("thoughts and words", "<think>\nHm.\n</think>\n\nHi!", "Hm.", "Hi!", reasoning=5),
        one("opened by the prompt", "\nHm.\n</think>\n\nHi!", "Hm.", "Hi!", reasoning=5, **opened),
        one("white space before", " \n<think>a b</think>c", "a b", "c", reasoning=3),
        one("none", "Hi!", "", "Hi!"),
        one("none, and white space", "\n Hi!", "", "\n Hi!"),
        one("other white space", "\x1c<\0think>a", "", "\x1c<think>a"),
        one("no words", "<think>\n\n</think>\n\n", "", "", reasoning=2),
        one("words that begin with a space", "<think>a</think>\n b", "a", " b", reasoning=1),
        one(
            "a call",
            f"<think>Hm.</think>\n\nSo:\n{_TAGGED}",
            "Hm.",
            "So:",
            called=(_GET,),
            reasoning=3,
        ),
        one(
            "a call at once",
            f"<think>Hm.</think>\n{_TAGGED}",
            "Hm.",
            "",
            called=(_GET,),
            reasoning=3,
        ),
        one("a call without thoughts", f"Yes\n{_TAGGED}", "", "Yes", called=(_GET,)),
        one("looks like an opening", "<thin <\0think>", "", "<thin <think>"),
        one("an opening among words", "So <\0think>no<\0/think>", "", "So <think>no</think>"),
        one(
            "looks like a closing",
            "<think>a </thin </</think>b</\0think>",
            "a </thin </",
            "b</think>",
            reasoning=11,
        ),
        one(
            "opened twice",
            "<think>a<think>b</think>c",
            "a<think>b",
            "c",
            reasoning=3 if controls else 9,
        ),
        one("cut off", "<think>Let me", "Let me", "", reasoning=6, turn_ended=False),
        one("ended amid thoughts", "<think>Let me", "Let me", "", reasoning=6),
        one(
            "cut off after the prompt's",
            "Let me",
            "Let me",
            "",
            reasoning=6,
            turn_ended=False,
            **opened,
        ),
        one(
            "cut off in what looks like a closing",
            "<think>a</thi",
            "a</thi",
            "",
            reasoning=6,
            turn_ended=False,
        ),
        one("closed by the prompt", "Hi <\0think>!", "", "Hi <think>!", beginning="answering"),
    ]


TRANSCRIPTS = [
    *_think(THINK, "tokens"),
    *_think((), "characters"),
    Transcript(
        "think, characters: cut off in what looks like an opening",
        *("think", " <thi", (), "", ""),
        turn_ended=False,
    ),
    Transcript("think, characters: ends so", "think", " <thi", (), "", " <thi"),
    Transcript(
        "mistral: thoughts and a call",
        *("mistral", "[THINK]Hm.[/THINK]So:[TOOL_CALLS]get[ARGS]{}", MISTRAL, "Hm.", "So:"),
        called=(_GET,),
        reasoning=3,
        calls="mistral-args",
    ),
    Transcript(
        "mistral: markers in characters",
        *("mistral", "[\0THINK]Hm.[\0/THINK]", MISTRAL, "", "[THINK]Hm.[/THINK]"),
        calls="mistral-args",
    ),
    Transcript(
        "gpt-oss: thoughts and words",
        "gpt-oss",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi!",
        *(HARMONY, "Hm.", "Hi!"),
        reasoning=3,
        calls="gpt-oss",
    ),
    Transcript(
        "gpt-oss: thoughts and a call",
        "gpt-oss",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
        "to=functions.get <|constrain|>json<|message|>{}<|call|>",
        *(HARMONY, "Hm.", ""),
        called=(_GET,),
        reasoning=3,
        calls="gpt-oss",
    ),
    Transcript(
        "gpt-oss: cut off in the thoughts",
        *("gpt-oss", "<|channel|>analysis<|message|>Let me", HARMONY, "Let me", ""),
        reasoning=6,
        calls="gpt-oss",
        turn_ended=False,
    ),
    Transcript(
        "gpt-oss: gone on with",
        *("gpt-oss", "there!<|return|>", HARMONY, "", "there!"),
        calls="gpt-oss",
        beginning="answering",
    ),
]

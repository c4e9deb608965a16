"""Clients that are tried against a server, and what docs/clients.md says of them.

Each has a program in tests/clients, which tries features and tells of each. This module knows
what the page shows of the programs and of what they told; `try_clients.py` runs them.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).parent.parent / "tests" / "clients"
SERVER = "http://127.0.0.1:8000/v1"

# In the order of the table; programs name their functions so.
FEATURES = {
    "chat": "an answer in one piece",
    "stream": "an answer in pieces, as it is generated",
    "usage": "how many tokens an answer took",
    "streamed usage": "the same of a streamed one",
    "stop": "an answer ends before a stop string",
    "errors": "what the server refuses is an error of the client's, which names the field",
    "tools": "a call of a function, with its arguments",
    "streamed tools": "the same, streamed",
    "tool loop": "a call, its result, and the answer made of that",
    "structured output": "an answer held to a JSON schema",
    "JSON mode": "JSON held to no schema",
    "images": "a picture in a message",
    "files": "a PDF or a text in a message",
    "sound in": "speech in a message",
    "sound out": "an answer that is spoken",
    "citations": "which pages of a search the answer is from",
    "thoughts": "what the model thought, apart from the answer",
    "refusals": "that the model refuses what it was to answer by a schema, and in which words",
}
# Those that a server has only with a flag, and that flag; they are tried at one with all flags.
FLAGGED = {"thoughts": "--show-reasoning", "refusals": "--refusals"}
FLAGS = tuple(FLAGGED.values())
# Others that not every server has.
SPECIAL = {
    "images": "a server whose model sees",
    "sound in": "a server with `--speech-model`",
    "sound out": "a server that has espeak-ng",
    "citations": "a server with `--search-index` or `--search-url`",
}
# Of the server that sees: its answers have no end of their own, and little is to be compiled.
SEEING_FLAGS = ("--max-answer-tokens", "32", "--rows", "2", "--prefill-chunk", "32")

_DOCS = re.compile(r"^(?:#|//) docs:begin\n(.*?)^(?:#|//) docs:end$", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".mjs": "javascript", ".yaml": "yaml"}


@dataclass(frozen=True, slots=True)
class Client:
    """A client that is tried.

    Attributes:
        title: its name on the page.
        package: its distribution, which requirements.txt pins, or package.json for Node.
        program: its file in `PROGRAMS`.
        settings: a file there that is shown instead of the program; may be empty.
        about: what there is to say of what is shown; may be empty.
    """

    title: str
    package: str
    program: str
    settings: str = ""
    about: str = ""

    @property
    def for_node(self) -> bool:
        """Whether Node runs it, and not Python."""
        return self.program.endswith(".mjs")

    @property
    def version(self) -> str:
        """Of the distribution that is tried."""
        if self.for_node:
            return json.loads(_read("package.json"))["dependencies"][self.package]
        pins = re.findall(
            r"^([^\[=\n]+)(?:\[.*\])?==(\S+)$", _read("requirements.txt"), re.MULTILINE
        )
        return dict(pins)[self.package]

    @property
    def shown(self) -> str:
        """The lines that point it at a server, as the page has them.

        Raises:
            ValueError: the program does not mark them.
        """
        if self.settings:
            return _read(self.settings).replace("BASE_URL", SERVER)
        (lines,) = _DOCS.findall(_read(self.program))
        return lines.replace("BASE_URL", f'"{SERVER}"')


CLIENTS = (
    Client("OpenAI for Python", "openai", "openai_python.py"),
    Client("OpenAI for Node", "openai", "openai_node.mjs"),
    Client("LangChain", "langchain-openai", "langchain_chat.py"),
    Client("LlamaIndex", "llama-index-llms-openai-like", "llama_index_openai_like.py"),
    Client("LiteLLM", "litellm", "litellm_completion.py"),
    Client("Instructor", "instructor", "instructor_modes.py"),
    Client("Pydantic AI", "pydantic-ai-slim", "pydantic_ai_agent.py"),
    Client("smolagents", "smolagents", "smolagents_model.py"),
    Client("AI SDK", "ai", "ai_sdk.mjs"),
    Client(
        "llm",
        "llm",
        "llm_command.py",
        "extra-openai-models.yaml",
        "In the file `extra-openai-models.yaml` beside the one that `llm logs path` names; then"
        " `llm -m parlance 'What is 7 + 5?'`.",
    ),
)


class Servers(NamedTuple):
    """Addresses of the servers that clients are tried at.

    Attributes:
        plain: of one with no flag of its own.
        flagged: of one with `FLAGS`.
        seeing: of one whose model sees, and that hears and searches.
    """

    plain: str
    flagged: str
    seeing: str


class Cell(NamedTuple):
    """What a program told of a feature.

    Attributes:
        fault: what it ended with, or None.
        note: what there is to say about it; may be empty.
        known: what stands in the fault that is expected; empty where none is.
    """

    fault: str | None
    note: str = ""
    known: str = ""


class StandardTest(NamedTuple):
    """What LangChain's tests told of one of them.

    Attributes:
        name: of the test.
        outcome: `passed`, `skipped`, `xfailed` or `failed`.
        reason: for any but `passed`; may be empty.
    """

    name: str
    outcome: str
    reason: str = ""


def snippets() -> str:
    """How each client is pointed at a server."""
    parts: list[str] = []
    for client in CLIENTS:
        language = _LANGUAGES[Path(client.settings or client.program).suffix]
        parts += [f"### {client.title}", *([client.about] if client.about else [])]
        parts += [f"```{language}\n{client.shown.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def features_list() -> str:
    """What the columns of the table mean."""
    servers = SPECIAL | {name: f"a server with `{flag}`" for name, flag in FLAGGED.items()}
    wanted = {name: f"; of {server}" for name, server in servers.items()}
    return "".join(
        f"- *{name}*: {meaning}{wanted.get(name, '')}.\n" for name, meaning in FEATURES.items()
    )


def features_table(seen: Mapping[Client, Mapping[str, Cell]]) -> str:
    """Which client can do what; what there is to say of a cell stands below, numbered."""
    notes: list[str] = []

    def text(cell: Cell | None) -> str:
        if cell is None:
            return "–"
        if cell.note and cell.note not in notes:
            notes.append(cell.note)
        number = f" ({notes.index(cell.note) + 1})" if cell.note else ""
        return ("yes" if cell.fault is None else "no") + number

    rows = [f"| client | version | {' | '.join(FEATURES)} |", "|---" * (len(FEATURES) + 2) + "|"]
    for client, cells in seen.items():
        told = " | ".join(text(cells.get(feature)) for feature in FEATURES)
        rows.append(f"| {client.title} | {client.version} | {told} |")
    numbered = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join([*rows, "", *numbered]) + "\n"


def standard_table(tests: Iterable[StandardTest]) -> str:
    """How many of LangChain's tests pass, and what is with the others."""
    tests = list(tests)
    others = [test for test in tests if test.outcome != "passed"]
    words = {"skipped": "not run", "xfailed": "fails", "failed": "fails"}
    rows = [f"| `{each.name}` | {words[each.outcome]} | {each.reason} |" for each in others]
    return "\n".join(
        [
            f"{len(tests) - len(others)} of {len(tests)} pass. The others:",
            "",
            "| test | | why |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _read(name: str) -> str:
    return (PROGRAMS / name).read_text(encoding="utf-8")

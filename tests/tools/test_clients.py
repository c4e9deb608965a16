"""What docs/clients.md says of the clients' programs and of what they told."""

import re

import pytest

from tools import try_clients
from tools.clients import (
    CLIENTS,
    FEATURES,
    FLAGGED,
    PROGRAMS,
    SERVER,
    Cell,
    Servers,
    StandardTest,
    features_list,
    features_table,
    snippets,
    standard_table,
)
from tools.try_clients import surprises, try_client

FIRST, SECOND = CLIENTS[:2]


def cells_of(table: str, title: str) -> list[str]:
    (row,) = re.findall(rf"^\| {title} \| (.*) \|$", table, re.MULTILINE)
    return row.split(" | ")


def test_a_row_has_a_cell_for_each_feature() -> None:
    table = features_table(
        {FIRST: {"chat": Cell(None), "stop": Cell("no such field", known="field")}}
    )
    version, *cells = cells_of(table, FIRST.title)
    assert version == FIRST.version
    assert dict(zip(FEATURES, cells, strict=True)) == dict.fromkeys(FEATURES, "–") | {
        "chat": "yes",
        "stop": "no",
    }


def test_notes_are_numbered_and_one_note_has_one_number() -> None:
    table = features_table(
        {
            FIRST: {"chat": Cell(None, "one"), "stop": Cell("no such field", "two", known="field")},
            SECOND: {"chat": Cell(None, "two"), "stream": Cell(None, "one")},
        }
    )
    assert cells_of(table, FIRST.title)[1:6] == ["yes (1)", "–", "–", "–", "no (2)"]
    assert cells_of(table, SECOND.title)[1:3] == ["yes (2)", "yes (1)"]
    assert table.endswith("\n\n1. one\n2. two\n")


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (Cell(None), None),
        (Cell(None, "so it does"), None),
        (Cell("no such field", "why", known="field"), None),
        (Cell("no such field"), "no such field"),
        (Cell("no such field", "so it should"), "no such field"),
        (Cell("no such model", "why", known="field"), "no such model"),
        (Cell(None, "why", known="field"), "works now, though it is said not to: why"),
    ],
)
def test_what_is_otherwise_than_the_program_says_is_told(cell: Cell, told: str | None) -> None:
    assert surprises({"chat": cell}) == ({} if told is None else {"chat": told})


def test_what_wants_a_flag_is_asked_of_the_server_with_flags(monkeypatch) -> None:
    asked = {}

    def lines(program: str, url: str, seeing: str, *features: str) -> list[dict[str, object]]:
        assert seeing == "seeing"
        asked[program, url] = set(features)
        return [{"feature": each, "fault": url, "expected": {}} for each in features]

    monkeypatch.setattr(try_clients, "_lines", lines)
    cells = try_client(FIRST, Servers("plain", "flagged", "seeing"))
    assert asked[FIRST.program, "flagged"] == {"thoughts", "refusals"}
    assert {"chat", "streamed_usage", "json_mode"} < asked[FIRST.program, "plain"]
    assert {name: cell.fault for name, cell in cells.items()} == {
        name: "flagged" if name in FLAGGED else "plain" for name in FEATURES
    }


def test_a_column_says_which_server_it_wants() -> None:
    columns = features_list().splitlines()
    assert len(columns) == len(FEATURES)
    assert columns[0] == "- *chat*: an answer in one piece."
    assert "- *images*: a picture in a message; of a server whose model sees." in columns
    assert "- *sound in*: speech in a message; of a server with `--speech-model`." in columns
    assert columns[-1].startswith("- *refusals*: ")
    assert columns[-1].endswith("; of a server with `--refusals`.")


def test_standard_tests_that_pass_are_counted_and_the_others_named() -> None:
    table = standard_table(
        [
            StandardTest("test_invoke", "passed"),
            StandardTest("test_images", "skipped", "no images"),
            StandardTest("test_batch", "passed"),
            StandardTest("test_words", "xfailed", "too small"),
        ]
    )
    assert table.startswith("2 of 4 pass.")
    assert table.endswith(
        "| `test_images` | not run | no images |\n| `test_words` | fails | too small |\n"
    )


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_a_client_is_shown_as_it_is_tried(client) -> None:
    assert (PROGRAMS / client.program).is_file()
    assert re.fullmatch(r"\d+\.\d+(\.\d+)*", client.version)
    assert SERVER in client.shown
    assert "BASE_URL" not in client.shown
    assert f"### {client.title}\n" in snippets()


def test_every_program_is_a_clients() -> None:
    shared = {"cells.py", "cells.mjs", "langchain_standard.py", "media_cells.py", "media_cells.mjs"}
    shared.add("sound_cells.py")
    programs = {path.name for pattern in ("*.py", "*.mjs") for path in PROGRAMS.glob(pattern)}
    assert programs - shared == {client.program for client in CLIENTS}

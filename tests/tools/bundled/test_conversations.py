import json
import random

import pytest

from serve.text.verbosity import said_in_words
from tools.bundled_data.conversations import ALL_SKILLS, Conversation, conversation
from tools.bundled_data.grammar import Split
from tools.bundled_data.judges import Reply


def test_the_same_seed_gives_the_same_conversations() -> None:
    def made(seed: int) -> list[Conversation]:
        rng = random.Random(seed)
        return [conversation(rng, Split.TRAIN) for _ in range(50)]

    first, same, other = (
        [(item.messages, item.thoughts, item.tools) for item in made(seed)] for seed in (7, 7, 8)
    )
    assert first == same
    assert first != other


@pytest.mark.parametrize("skill", ALL_SKILLS)
@pytest.mark.parametrize("split", Split)
def test_a_conversation_ends_in_the_skill_asked_for(skill: str, split: Split) -> None:
    rng = random.Random(f"{skill}/{split}")
    for _ in range(40):
        item = conversation(rng, split, skill)
        assert item.skill == skill
        assert item.messages[-1]["role"] == "assistant"
        assert len(item.thoughts) == len(item.messages)
        roles = [message["role"] for message in item.messages]
        assert "system" not in roles[1:]
        assert "developer" not in roles[1:]


def remembered(item: Conversation) -> str | None:
    """The name that the conversation's messages give, read from the answers."""
    name = item.messages[-2].get("name")
    for message in item.messages[:-2]:
        told = str(message["content"])
        if message["role"] == "assistant" and told.startswith("Nice to meet you, "):
            name = told.removeprefix("Nice to meet you, ").rstrip("!")
    return name


def test_the_name_told_last_is_the_one_remembered() -> None:
    rng = random.Random(1)
    seen = set()
    for _ in range(400):
        item = conversation(rng, Split.TRAIN, "remembering", 4)
        answer = item.messages[-1]["content"]
        if answer.startswith("Your name is"):
            assert answer == f"Your name is {remembered(item)}."
            seen.add(answer)
    assert len(seen) > 60


def with_system(start: str) -> list[Conversation]:
    rng = random.Random(2)
    found = [conversation(rng, Split.TRAIN, "system messages") for _ in range(600)]
    return [item for item in found if item.messages[0]["content"].lower().startswith(start)]


def test_a_system_message_changes_every_answer() -> None:
    loud = with_system("shout")
    assert loud
    for item in loud:
        said = [message["content"] for message in item.messages if message["role"] == "assistant"]
        assert all(text == text.upper() for text in said)


def test_json_is_answered_where_the_system_asks_for_it() -> None:
    found = with_system("output")
    assert found
    for item in found:
        answer = json.loads(item.messages[-1]["content"])
        (key,) = answer
        assert f'"{key}"' in item.messages[0]["content"]


def test_a_persona_answers_by_its_name() -> None:
    rng = random.Random(3)
    named = 0
    for _ in range(5000):
        item = conversation(rng, Split.TRAIN, "system messages", 1)
        answer = item.messages[-1]["content"]
        if answer.startswith("My name is") and "Parlance" not in answer:
            named += 1
            assert answer.removeprefix("My name is ").rstrip(".") in item.messages[0]["content"]
    assert named > 5


def test_switches_turn_thoughts_on_and_off() -> None:
    rng = random.Random(4)
    counts = {"/think": 0, "/no_think": 0, "closed": 0}
    for _ in range(300):
        item = conversation(rng, Split.TRAIN, "thinking switches", 1)
        user = item.messages[-2]["content"]
        switch = "closed" if item.closed else user.rsplit(" ", 1)[-1]
        counts[switch] += 1
        assert (item.thoughts[-1] is not None) == (switch == "/think")
    assert min(counts.values()) > 50


def test_worked_answers_mostly_end_their_conversation() -> None:
    """Where a later turn removes the thought the answer is not learnt."""
    rng = random.Random(5)
    earlier = last = 0
    for _ in range(1000):
        item = conversation(rng, Split.TRAIN)
        earlier += sum(thought is not None for thought in item.thoughts[:-1])
        last += item.thoughts[-1] is not None
    assert last > 2 * earlier


def test_verbosity_is_asked_for_in_the_servers_words() -> None:
    """Where fewer words or more are possible, the answer has them, and else it is as ever."""
    rng = random.Random(4)
    seen = set()
    for _ in range(300):
        item = conversation(rng, Split.TRAIN, "verbosity", 1)
        level = next(
            level
            for level in ("low", "high")
            if item.messages[0]["content"].endswith(said_in_words(level))
        )
        answer, thought = item.messages[-1]["content"], item.thoughts[-1]
        assert item.judge.right(Reply(answer, thought or "", ()))
        explained = level == "high" and "\n\n" in answer
        if explained and thought:
            assert answer.startswith(f"{thought}\n\n")
        seen.add((level, explained, level == "low" and len(answer.split()) == 1))
    assert {("low", False, True), ("high", True, False), ("high", False, False)} <= seen

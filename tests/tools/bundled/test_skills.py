import json
import operator
import random
import re
import string
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import jsonschema
import pytest

from tools.bundled_data.conversations import Conversation, conversation
from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.facts import FACTS
from tools.bundled_data.grammar import Split, part
from tools.bundled_data.judges import Call, Reply
from tools.bundled_data.lists_of_things import KINDS
from tools.bundled_data.skills import SKILLS
from tools.bundled_data.skills.arithmetic import added, multiplied
from tools.bundled_data.tables import table
from tools.bundled_data.words import COMMON, NAMES, SPELLED, WORDS, value_among, word_of


@cache
def drawn(skill: str, split: Split, count: int = 300) -> Sequence[Conversation]:
    """A sample that its tests share."""
    rng = random.Random(f"{skill}/{split}")
    return tuple(conversation(rng, split, skill, 1) for _ in range(count))


def users(found: Sequence[Conversation]) -> list[str]:
    """What the users of the conversations said last."""
    return [
        next(message["content"] for message in reversed(item.messages) if message["role"] == "user")
        for item in found
    ]


def answers(skill: str, split: Split = Split.TRAIN, count: int = 300) -> list[tuple[str, str, str]]:
    """What was said, the thought and the answer."""
    found = drawn(skill, split, count)
    return [
        (user, item.thoughts[-1] or "", item.messages[-1]["content"])
        for user, item in zip(users(found), found, strict=True)
    ]


def said(skill: str, split: Split, count: int) -> Iterator[str]:
    """Answers of exchanges, of which many more are to be had in the time of a conversation."""
    now = Situation(random.Random(f"{skill}/{split}"), split)
    for _ in range(count):
        yield from (exchange.answer for exchange in SKILLS[skill].make(now))


@pytest.mark.parametrize("skill", SKILLS)
def test_train_and_held_out_share_no_message(skill: str) -> None:
    train = {user.lower().rstrip("?.! ") for user in users(drawn(skill, Split.TRAIN))}
    held = {user.lower().rstrip("?.! ") for user in users(drawn(skill, Split.HELD_OUT))}
    # Roughening may drop a letter of one and make it the other; noise may be a character or two.
    assert len({user for user in train & held if len(user) > 2}) <= 0.01 * len(held)
    assert len(held) > 20


@pytest.mark.parametrize("skill", SKILLS)
def test_another_conversations_answer_is_wrong(skill: str) -> None:
    """Of two answers that differ, a judge takes its own only, but for lists in another order."""
    found = drawn(skill, Split.HELD_OUT)[:60]
    replies = [reply_of(item) for item in found]
    for item, own in zip(found, replies, strict=True):
        assert item.judge.right(own)
        assert not item.judge.right(Reply("Nothing of the kind."))
    judged = [
        item.judge.right(other)
        for item, own in zip(found, replies, strict=True)
        for other in replies
        if (other.text, other.calls) != (own.text, own.calls)
    ]
    # Any list of the kind is right, and both ways of not knowing.
    assert not any(judged) or skill in ("lists", "no tool call")


def reply_of(item: Conversation) -> Reply:
    message = item.messages[-1]
    calls = [
        Call(call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    return Reply(message["content"], item.thoughts[-1], tuple(calls))


def test_no_held_out_word_is_practised() -> None:
    rng = random.Random(0)
    listed = set(SPELLED)
    train, held = (
        {word_of(rng, split) for _ in range(count)}
        for split, count in ((Split.TRAIN, 20_000), (Split.HELD_OUT, 2000))
    )
    assert not train & held
    assert held & listed == set(part(SPELLED, Split.HELD_OUT))
    assert train & listed == set(part(SPELLED, Split.TRAIN))
    assert not listed & set(COMMON)
    assert set(COMMON) <= train


def test_values_that_are_tokens_are_trained_and_never_held_out() -> None:
    rng, listed = random.Random(0), table("reading")["words"]["thing"]
    train, held = ({value_among(rng, split, listed, 7) for _ in range(2000)} for split in Split)
    assert set(listed) & set(COMMON) <= train
    assert not held & set(COMMON)
    assert set(listed) - train == held & set(listed)


def test_no_held_out_name_is_practised() -> None:
    held = set(part(NAMES, Split.HELD_OUT))
    told = {
        found[1]
        for answer in said("being told", Split.TRAIN, 2000)
        if (found := re.fullmatch(r"Nice to meet you, (\w+)!", answer))
    }
    assert not told & held
    assert len(told & set(NAMES)) > 100


SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
CALCULATIONS = [
    "addition",
    "subtraction",
    "multiplication",
    "two-digit multiplication",
    "division",
]


@pytest.mark.parametrize("skill", CALCULATIONS)
@pytest.mark.parametrize("split", Split)
def test_calculations_are_right(skill: str, split: Split) -> None:
    for _, thought, answer in answers(skill, split):
        a, sign, b, result = re.fullmatch(r"(\d+) (.) (\d+) = (-?\d+)", answer).groups()
        assert int(result) == SIGNS[sign](int(a), int(b))
        for left, claimed in re.findall(r"([\d+*\- ]+\d) = (-?\d+)", thought):
            # Digits' sums and differences only: no name is in them.
            assert eval(left.strip()) == int(claimed), thought


def test_a_sum_is_worked_from_the_last_digit() -> None:
    assert added(347, 85).splitlines() == [
        "7 + 5 + 0 = 12: 2, carry 1",
        "4 + 8 + 1 = 13: 3, carry 1",
        "3 + 0 + 1 = 4: 4, carry 0",
        "347 + 85 = 432",
    ]


def test_a_product_is_worked_from_the_last_digit() -> None:
    assert multiplied(88, 85).splitlines() == [
        "8 * 5 = 40, 40 + 0 = 40: 0, carry 4",
        "8 * 8 = 64, 8 * 5 = 40, 64 + 40 = 104, 104 + 4 = 108: 8, carry 10",
        "8 * 8 = 64, 64 + 10 = 74: 4, carry 7",
        "88 * 85 = 7480",
    ]
    assert multiplied(10, 9) == ""


@pytest.mark.parametrize("skill", ["multiplication", "two-digit multiplication"])
def test_the_digits_and_the_last_carry_are_the_product(skill: str) -> None:
    for _, thought, answer in answers(skill):
        *lines, result = thought.splitlines() or [answer]
        assert result == answer
        digits = [re.search(r": (\d), carry (\d+)$", line) for line in lines]
        if digits:
            found = digits[-1][2] + "".join(each[1] for each in reversed(digits))
            assert int(found) == int(answer.split(" = ")[1])


def test_the_longest_list_of_a_kind_is_trained_and_every_end() -> None:
    longest: dict[str, int] = {}
    ends: set[str] = set()
    for answer in said("lists", Split.TRAIN, 15_000):
        items = re.split(r", |\n", re.sub(r"(?m)^\d+\. ", "", answer))
        ends.add(items[-1])
        for kind in KINDS:
            if set(items) <= set(kind.items):
                longest[kind.one] = max(longest.get(kind.one, 0), len(items))
    assert longest == {kind.one: len(kind.items) for kind in KINDS}
    assert ends == {item for kind in KINDS for item in kind.items}


def test_operands_of_held_out_sums_are_never_trained() -> None:
    def pairs(split: Split) -> set[tuple[str, str]]:
        found = {answer.split(" = ")[0] for answer in said("addition", split, 1500)}
        return {tuple(sum_.split(" + ")) for sum_ in found}

    assert not pairs(Split.TRAIN) & pairs(Split.HELD_OUT)


def test_all_small_sums_are_trained() -> None:
    seen = {answer.split(" = ")[0] for answer in said("addition", Split.TRAIN, 20_000)}
    assert {f"{a} + {b}" for a in range(10) for b in range(10)} <= seen


def test_reversal_is_the_reverse_of_something_asked() -> None:
    for user, thought, answer in answers("reversing"):
        words = answer.split()
        if len(words) > 1:
            assert " ".join(reversed(words)) in user
            numbered = [f"{place} {word}" for place, word in enumerate(reversed(words), 1)]
            assert thought.splitlines() == [", ".join(numbered), ", ".join(reversed(numbered))]
        else:
            assert thought == "-".join(answer[::-1])
            assert answer[::-1] in user


def test_counts_are_right() -> None:
    for user, thought, answer in answers("counting"):
        if found := re.fullmatch(r"(\w) appears (\d+) times? in (\w+)\.", answer):
            letter, count, word = found.groups()
            assert word.count(letter) == int(count)
            seen, number = "", 0
            for line in thought.splitlines():
                number += line[0] == letter
                assert line == f"{line[0]}-{letter}{number if line[0] == letter else ''}"
                seen += line[0]
            assert seen == word
        elif found := re.fullmatch(r"(\w+) has (\d+) letters\.", answer):
            assert len(found[1]) == int(found[2])
        else:
            count = int(re.fullmatch(r"There are (\d+) words\.", answer)[1])
            assert len(re.split(r": ?", user, maxsplit=1)[1].split()) == count


def test_what_is_sorted_is_what_was_given() -> None:
    for user, thought, answer in answers("sorting"):
        items = answer.split(", ")
        key = int if items[0].isdigit() else str
        assert items == sorted(items, key=key)
        given = re.findall(r"\w+", re.split(r": ?", user, maxsplit=1)[1])
        assert sorted(given) == sorted(items)
        lines = thought.splitlines()
        if key is int:
            assert lines[0] == ", ".join(f"{int(item):02}" for item in given)
            keys, sorted_lines = string.digits, lines[1:]
            placed = [item for line in sorted_lines for item in line[1:].lstrip(": ").split(", ")]
            assert [int(item) for item in placed if item] == [int(item) for item in items]
        else:
            assert lines[: len(items) + 1] == [*(f"{item[0]}: {item}" for item in given), ""]
            keys, sorted_lines = string.ascii_lowercase, lines[len(items) + 1 :]
            assert [line[3:] for line in sorted_lines if line[1:]] == items
        assert "".join(line[0] for line in sorted_lines) == keys


def test_facts_are_hundreds_and_no_unknown_is_one() -> None:
    assert sum(len(kind.rows) for kind in FACTS if not kind.shared) >= 400
    for kind in FACTS:
        if kind.open_slot is not None:
            known = {row[kind.open_slot].lower() for row in kind.rows}
            assert not {name.lower() for name in kind.unknown} & known


def test_extracted_fields_follow_the_schema() -> None:
    with_format = 0
    for item in drawn("extraction", Split.HELD_OUT):
        user, answer = item.messages[-2]["content"], json.loads(item.messages[-1]["content"])
        if item.schema is not None:
            with_format += 1
            jsonschema.validate(answer, item.schema)
        for key, value in answer.items():
            assert item.schema is not None or f'"{key}"' in user
            if not isinstance(value, bool):
                assert str(value) in user
    assert 30 < with_format < 225


@pytest.mark.parametrize("split", Split)
def test_calls_follow_the_tools(split: Split) -> None:
    several = 0
    for item in drawn("tool calls", split):
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in item.tools}
        assert len(schemas) == len(item.tools)
        calls = item.messages[-1]["tool_calls"]
        several += len(calls) > 1
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            jsonschema.validate(arguments, schemas[call["function"]["name"]])
            for value in arguments.values():
                assert str(value) in item.messages[-2]["content"]
    assert several > 5


def test_the_answer_after_a_tool_uses_its_result() -> None:
    for item in drawn("tool results", Split.HELD_OUT):
        results = [
            json.loads(message["content"]) for message in item.messages if message["role"] == "tool"
        ]
        for result in results:
            for key, value in result.items():
                assert key == "status" or str(value) in item.messages[-1]["content"]


def test_yes_and_no_are_both_right_at_times() -> None:
    found = [answer for _, _, answer in answers("yes or no")]
    assert set(found) == {"Yes.", "No."}
    assert 100 < found.count("Yes.") < 200


def test_yes_is_what_is_found_to_be_the_same() -> None:
    for user, thought, answer in answers("yes or no"):
        pairs = re.findall(r"(.+?) and (.+?): (yes|no)(?:, |$)", thought)
        assert pairs
        for one, other, same in pairs:
            assert one in user
            assert other in user
            assert (one == other) == (same == "yes")
        assert (answer == "Yes.") == any(same == "yes" for *_, same in pairs)


def test_an_edit_is_of_what_was_given() -> None:
    for user, _, answer in answers("editing"):
        words = [set(re.findall(r"\w+", text)) for text in (user, answer)]
        assert words[0] & words[1] or answer.startswith("def ")
        if "___" not in user and "def " in user:
            compile(answer, "answer", "exec")


@pytest.mark.parametrize(
    ("asked", "given", "result"),
    [
        ("divides two numbers", (6, 3), 2),
        ("subtracts two numbers", (6, 2), 4),
        ("squares a number", (5,), 25),
        ("checks if a number is even", (4,), True),
        ("gets the last item", ([1, 2, 3],), 3),
        ("turns a text into capital letters", ("ab",), "AB"),
    ],
)
def test_a_function_does_what_was_asked(
    asked: str, given: tuple[object, ...], result: object
) -> None:
    written = [
        answer
        for user, _, answer in answers("editing", count=4000)
        if asked in user.lower() and answer.startswith("def ")
    ]
    assert written
    names: dict[str, Callable[..., object]] = {}
    exec(written[0], names)
    (function,) = [value for name, value in names.items() if name != "__builtins__"]
    assert function(*given) == result


def test_no_message_has_two_answers() -> None:
    """What one skill answers, no other answers otherwise: messages that need nothing before."""
    answers_to: dict[str, dict[str, Exchange]] = {}
    rng = random.Random(0)
    for skill, practice in SKILLS.items():
        if practice.tools or skill in ("being told", "remembering"):
            continue
        for _ in range(1000):
            for exchange in practice.make(Situation(rng, Split.TRAIN)):
                message = exchange.user.lower().rstrip("?.! \n")
                answers_to.setdefault(message, {})[exchange.answer.lower()] = exchange
    for message, found in answers_to.items():
        judges = {exchange.skill: exchange.judge for exchange in found.values()}
        for exchange in found.values():
            reply = Reply(exchange.answer)
            assert all(judge.right(reply) for judge in judges.values()), message


def test_what_is_known_is_in_no_table_of_the_unknown() -> None:
    unknown = {topic.lower() for topic in table("unrelated")["topics"]}
    topics = {
        name for each in table("topics")["topic"] for name in each["name"].strip("()").split("|")
    }
    assert not unknown & {name.lower() for name in topics}
    (translations,) = [kind for kind in FACTS if kind.name == "translation"]
    assert not {row["word"] for row in translations.rows} & set(WORDS)

import pytest

from tools.bundled_data.judges import (
    Call,
    Calls,
    Items,
    JsonEqual,
    Judge,
    Reply,
    Thoughtful,
    exactly,
)

PARIS = Call("weather", {"city": "Paris"})
ROME = Call("weather", {"city": "Rome"})
FRUITS = Items(2, frozenset({"apple", "pear", "plum"}))


def test_a_content_is_taken_apart() -> None:
    assert Reply.of(" 12 ") == Reply("12", None)
    assert Reply.of("<think>\n5 + 7\n</think>\n\n12") == Reply("12", "5 + 7")
    assert Reply.of("<think>\n\n</think>\n\n12") == Reply("12", "")
    # The template may have opened the thought.
    assert Reply.of("5 + 7</think>12") == Reply("12", "5 + 7")
    assert Reply.of(" 12 ", thought="5 + 7") == Reply("12", "5 + 7")


@pytest.mark.parametrize(
    ("judge", "right", "wrong"),
    [
        (exactly("Yes.", "Yes"), ["Yes", "Yes."], ["yes", "No.", ""]),
        (
            JsonEqual({"n": 1, "ok": True}),
            ['{"ok": true,  "n": 1}'],
            ['{"n": 1, "ok": 1}', '{"n": 1}', '{"n": 1, "ok": true} ok', "no JSON"],
        ),
        (
            FRUITS,
            ["apple, pear", "pear and apple", "1. Plum\n2. Pear", "- plum\n- pear"],
            ["apple", "apple, apple", "apple, dog", "apple, pear, plum", ""],
        ),
    ],
)
def test_words(judge: Judge, right: list[str], wrong: list[str]) -> None:
    assert [text for text in right if not judge.right(Reply(text))] == []
    assert [text for text in wrong if judge.right(Reply(text))] == []


@pytest.mark.parametrize("judge", [exactly("Yes."), JsonEqual("Yes."), FRUITS])
def test_words_with_a_call_are_wrong(judge: Judge) -> None:
    text = {JsonEqual: '"Yes."', Items: "apple, pear"}.get(type(judge), "Yes.")
    assert judge.right(Reply(text))
    assert not judge.right(Reply(text, calls=(PARIS,)))


@pytest.mark.parametrize(
    "made",
    [
        (),
        (PARIS,),
        (ROME, PARIS),
        (PARIS, ROME, ROME),
        (PARIS, Call("time", {"city": "Rome"})),
        (PARIS, Call("weather", {"city": "Rome", "days": 1})),
    ],
)
def test_other_calls_are_wrong(made: tuple[Call, ...]) -> None:
    judge = Calls((PARIS, ROME))
    assert judge.right(Reply("", calls=(PARIS, ROME)))
    assert not judge.right(Reply("", calls=made))


def test_a_number_is_not_its_digits() -> None:
    judge = Calls((Call("timer", {"minutes": 5}),))
    assert judge.right(Reply("", calls=(Call("timer", {"minutes": 5}),)))
    assert not judge.right(Reply("", calls=(Call("timer", {"minutes": "5"}),)))


def test_thoughts_are_asked_for_or_not() -> None:
    with_thought, without = (Thoughtful(exactly("4"), wanted) for wanted in (True, False))
    assert with_thought.right(Reply("4", "2 + 2"))
    assert not with_thought.right(Reply("4"))
    assert not with_thought.right(Reply("4", ""))
    assert not with_thought.right(Reply("5", "2 + 2"))
    assert without.right(Reply("4"))
    assert without.right(Reply("4", ""))
    assert not without.right(Reply("4", "2 + 2"))

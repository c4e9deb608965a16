import random

import pytest

from tools.bundled_data.grammar import (
    Pattern,
    Phrasings,
    Split,
    fill,
    in_split,
    opened,
    part,
    phrasing_key,
    roughen,
)
from tools.bundled_data.words import NAMES, WORDS


def test_alternatives_nest_and_may_be_empty() -> None:
    line = Pattern("(a(1|2)|b)( {x}|)")
    assert line.plain() == "a1 {x}"
    drawn = {line.draw(random.Random(seed)) for seed in range(80)}
    assert drawn == {"a1 {x}", "a2 {x}", "b {x}", "a1", "a2", "b"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [("(a|b", "never closes"), ("a|b)", "none opens"), ("a|b", "outside of parentheses")],
)
def test_a_malformed_line_is_refused(line: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Pattern(line)


def test_a_slot_value_is_taken_literally() -> None:
    assert fill("say {x} and {y}", {"x": "{y}", "y": "z"}) == "say {y} and z"


def test_roughening_leaves_slots_alone() -> None:
    rng = random.Random(3)
    rough = {roughen(rng, "What Is {Name} today?") for _ in range(500)}
    assert all("{Name}" in text for text in rough)
    assert {"what is {Name} today?", "WHAT IS {Name} TODAY?", "What Is {Name} today"} <= rough


def test_a_small_word_may_be_left_out_but_no_other() -> None:
    rng = random.Random(6)
    rough = {roughen(rng, "name the {x} sum that counts") for _ in range(3000)}
    assert {"name {x} sum that counts", "name the {x} sum counts"} <= rough
    assert not {"the {x} sum that counts", "name the {x} that counts"} & rough


def test_nothing_follows_a_slot_that_ends_a_template() -> None:
    rng = random.Random(4)
    assert all(roughen(rng, "Repeat: {text}").endswith("{text}") for _ in range(500))


def test_the_plainest_phrasing_is_never_held_out() -> None:
    phrasings = Phrasings("(What|Which) (is|was) (this|that)( now|)(?|)", opened=False)
    rng = random.Random(0)
    train = {phrasing_key(phrasings.draw(rng, Split.TRAIN)) for _ in range(500)}
    held = {phrasing_key(phrasings.draw(rng, Split.HELD_OUT)) for _ in range(500)}
    assert "what is this now" in train
    assert held
    assert not train & held
    assert len(train | held) == 16


def test_a_phrasing_may_have_an_opening() -> None:
    phrasings = Phrasings("(What|Which) (is|was) this")
    rng = random.Random(0)
    train = {phrasing_key(phrasings.draw(rng, Split.TRAIN)) for _ in range(1000)}
    held = {phrasing_key(phrasings.draw(rng, Split.HELD_OUT)) for _ in range(1000)}
    assert not train & held
    assert {"what is this", "so, which was this", "hey parlance, what was this"} <= train | held


@pytest.mark.parametrize(
    ("template", "end"),
    [
        ("What is it?", ", what is it?"),
        ("I am {name}", ", I am {name}"),
        ("JSON of {x}", ", JSON of {x}"),
        ("{x}: what is it?", None),
        ("So, what is it?", None),
    ],
)
def test_openings_stand_before_what_takes_one(template: str, end: str | None) -> None:
    rng = random.Random(1)
    drawn = {opened(rng, template) for _ in range(300)}
    if end is None:
        assert drawn == {template}
    else:
        assert f"So{end}" in drawn
        assert all(each.lower().endswith(end[2:].lower()) for each in drawn)
        assert len(drawn) > 10


def test_of_few_phrasings_two_are_held_out() -> None:
    phrasings = Phrasings("(Hello|Hi|Hey|Ahoy)", opened=False)
    rng = random.Random(0)
    held = {phrasings.draw(rng, Split.HELD_OUT) for _ in range(50)}
    train = {phrasings.draw(rng, Split.TRAIN) for _ in range(50)}
    assert len(held) == 2
    assert held | train == {"Hello", "Hi", "Hey", "Ahoy"}
    assert "Hello" in train - held


def test_phrasings_without_a_held_out_one_say_so() -> None:
    with pytest.raises(ValueError, match="add alternatives"):
        Phrasings("Hello", opened=False).draw(random.Random(0), Split.HELD_OUT)


@pytest.mark.parametrize("items", [WORDS, NAMES])
def test_a_tenth_of_the_words_is_held_out(items: tuple[str, ...]) -> None:
    train, held = part(items, Split.TRAIN), part(items, Split.HELD_OUT)
    assert not set(train) & set(held)
    assert len(train) + len(held) == len(items)
    assert 0.05 < len(held) / len(items) < 0.17
    assert all(in_split(item, Split.HELD_OUT) for item in held)


def test_of_a_short_list_two_are_held_out() -> None:
    held = part(("a", "b", "c", "d"), Split.HELD_OUT, 1_000_000)
    assert len(held) == 2
    assert set(part(("a", "b", "c", "d"), Split.TRAIN, 1_000_000)) == {"a", "b", "c", "d"} - {*held}

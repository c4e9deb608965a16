import random
import re
from collections import Counter

import pytest

from tools.shapes.conversations import conversation, described, exchange
from tools.shapes.pictures import PLACES, Scene, Shape

SCENE: Scene = (
    Shape("red", "circle", 0),
    Shape("orange", "square", 4),
    Shape("red", "square", 5),
)
OTHER: Scene = (Shape("blue", "cross", 8),)
# What may be asked of the first scene, in any case and with or without its mark, and the answers.
ANSWERS = {
    "what is in this picture|what do you see|describe the picture": (
        "A red circle, an orange square and a red square."
    ),
    "what colou?r is the circle": "Red.",
    "(what|which) shape is orange": "A square.",
    "how many shapes (are there|do you see)": "Three.",
    "where is the circle": "At the top left.",
    "where is the orange square": "In the middle.",
    "where is the red square": "At the right.",
    "is there an? (circle|square|red circle|red square|orange square)": "Yes.",
    "is there .*": "No.",
}
OF_TWO = {
    "what is in the first picture": described(SCENE),
    "what is in the second picture": "A blue cross.",
    "which picture has an? .*(circle|square)": "The first one.",
    "which picture has a (blue )?cross": "The second one.",
}


def right(answers: dict[str, str], question: str) -> str:
    bare = question.lower().rstrip("?.")
    return next(answer for asked, answer in answers.items() if re.fullmatch(asked, bare))


@pytest.mark.parametrize(
    ("scenes", "answers"), [([SCENE], ANSWERS), ([SCENE, OTHER], OF_TWO)], ids=["one", "two"]
)
def test_answers_are_those_a_person_would_give(
    scenes: list[Scene], answers: dict[str, str]
) -> None:
    rng = random.Random(0)
    asked = [exchange(rng, scenes) for _ in range(500)]
    for each in asked:
        assert each.answer == right(answers, each.question), each
    assert {right(answers, each.question) for each in asked} == set(answers.values())


def test_what_is_sought_is_there_half_of_the_time() -> None:
    rng = random.Random(0)
    found = Counter(
        each.answer
        for each in (exchange(rng, [SCENE]) for _ in range(2000))
        if each.kind == "there"
    )
    # About 280 of them: three deviations are 26 of a half.
    assert abs(found["Yes."] - found["No."]) < 52


def test_without_a_picture_none_is_seen() -> None:
    rng = random.Random(0)
    asked = [exchange(rng, []) for _ in range(200)]
    seen = [each for each in asked if "picture" in each.question.lower()]
    assert {each.answer for each in seen} == {"I see no picture."}
    assert {each.kind for each in asked} == {"talk"}


def test_pictures_come_before_the_first_question() -> None:
    item = conversation(random.Random(0), 2, 2)
    first, answer, second, _ = item.messages()
    assert [part["type"] for part in first["content"]] == ["image", "image", "text"]
    assert (answer["role"], second["content"]) == ("assistant", item.exchanges[1].question)
    assert item.messages(asked=1)[-1] == second
    assert item.messages(asked=0) == [first]


def test_no_answer_of_a_kind_comes_twice() -> None:
    rng = random.Random(0)
    for _ in range(50):
        item = conversation(rng, 1, 3)
        assert len({(each.kind, each.answer) for each in item.exchanges}) == 3


def test_places_are_named_by_rows() -> None:
    assert [PLACES[place] for place in (0, 4, 8)] == [
        "at the top left",
        "in the middle",
        "at the bottom right",
    ]

"""Short conversations about pictures, whose answers are certain. Knows nothing of tokens."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tools.shapes.pictures import COLOURS, FORMS, PLACES, Scene, Shape, draw, scene

NUMBERS = ("no", "one", "two", "three")
ORDINALS = ("first", "second")
TALK = (
    (("Hello!", "Hi!", "Good morning!", "Hello there!"), "Hello! Show me a picture."),
    (
        ("Who are you?", "What are you?", "What is your name?"),
        "I am a small model that sees shapes.",
    ),
    (
        ("What can you do?", "How can you help me?", "What do you know?"),
        "I can tell what shapes are in a picture.",
    ),
    (("Thank you!", "Thanks!"), "You are welcome."),
    (("Goodbye!", "Bye!"), "Goodbye!"),
)
_WHAT = ("What is in this picture?", "What do you see?", "Describe the picture.")
_UNSEEN = "I see no picture."


class Exchange(NamedTuple):
    """A question and its answer.

    Attributes:
        kind: of the question.
        question: the user's words.
        answer: the one that is right.
    """

    kind: str
    question: str
    answer: str


class Conversation(NamedTuple):
    """Exchanges about pictures, all of which come before the first question.

    Attributes:
        pictures: pixels.
        exchanges: in their order.
    """

    pictures: list[np.ndarray]
    exchanges: list[Exchange]

    def messages(self, asked: int | None = None) -> list[dict[str, Any]]:
        """As chat templates take them; up to the question of this number, or all with answers."""
        found: list[dict[str, Any]] = []
        images = [{"type": "image"}] * len(self.pictures)
        for number, each in enumerate(self.exchanges):
            content: Any = each.question
            if images and not number:
                content = [*images, {"type": "text", "text": each.question}]
            found.append({"role": "user", "content": content})
            if number == asked:
                break
            found.append({"role": "assistant", "content": each.answer})
        return found


def conversation(
    rng: random.Random, pictures: int, exchanges: int, *, trained: bool = True
) -> Conversation:
    """One about so many pictures: up to two.

    Args:
        rng: drawn from.
        pictures: how many.
        exchanges: the same.
        trained: whether its pictures may be trained on, or are held out.
    """
    scenes: list[Scene] = []
    while len({described(each) for each in scenes}) < pictures:
        scenes = [scene(rng, trained=trained) for _ in range(pictures)]
    asked: list[Exchange] = []
    while len(asked) < exchanges:
        found = exchange(rng, scenes)
        if all((each.kind, each.answer) != (found.kind, found.answer) for each in asked):
            asked.append(found)
    return Conversation([draw(each, rng) for each in scenes], asked)


def exchange(rng: random.Random, scenes: Sequence[Scene]) -> Exchange:
    """A question about pictures of these scenes, up to two, and its answer."""
    found = None
    while found is None:
        found = (_talk, _about_one, _about_two)[len(scenes)](rng, scenes)
    return found._replace(question=_written(rng, found.question))


def described(shapes: Scene) -> str:
    """What is in a picture, in reading order."""
    *others, last = (_a(shape.name) for shape in shapes)
    return _sentence(f"{', '.join(others)} and {last}" if others else last)


def _about_one(rng: random.Random, scenes: Sequence[Scene]) -> Exchange | None:
    (shapes,) = scenes
    kind = rng.choice(("what", "what", "colour", "form", "count", "where", "there"))
    shape = rng.choice(shapes)
    same_form = [each for each in shapes if each.form == shape.form]
    same_colour = [each for each in shapes if each.colour == shape.colour]
    match kind:
        case "what":
            return Exchange(kind, rng.choice(_WHAT), described(shapes))
        case "colour" if len(same_form) == 1:
            word = rng.choice(("colour", "colour", "color"))
            return Exchange(kind, f"What {word} is the {shape.form}?", f"{shape.colour.title()}.")
        case "form" if len(same_colour) == 1:
            asked = rng.choice(("What shape is {}?", "Which shape is {}?"))
            return Exchange(kind, asked.format(shape.colour), _sentence(_a(shape.form)))
        case "count":
            asked = rng.choice(("How many shapes are there?", "How many shapes do you see?"))
            return Exchange(kind, asked, f"{NUMBERS[len(shapes)].title()}.")
        case "where":
            name = shape.form if len(same_form) == 1 else shape.name
            return Exchange(kind, f"Where is the {name}?", _sentence(PLACES[shape.place]))
        case "there":
            what, is_there = _sought(rng, shapes)
            return Exchange(kind, f"Is there {what}?", "Yes." if is_there else "No.")
        case _:
            return None


def _about_two(rng: random.Random, scenes: Sequence[Scene]) -> Exchange | None:
    kind = rng.choice(("which", "which", "one of two"))
    number = rng.randrange(2)
    if kind == "one of two":
        asked = f"What is in the {ORDINALS[number]} picture?"
        return Exchange(kind, asked, described(scenes[number]))
    what, _ = _sought(rng, scenes[number], there=True)
    found = [_has(each, what) for each in scenes]
    if all(found):
        return None
    return Exchange(kind, f"Which picture has {what}?", f"The {ORDINALS[number]} one.")


def _talk(rng: random.Random, scenes: Sequence[Scene]) -> Exchange:
    del scenes
    if rng.random() < 0.3:
        return Exchange("talk", rng.choice((*_WHAT, "How many shapes are there?")), _UNSEEN)
    questions, answer = rng.choice(TALK)
    return Exchange("talk", rng.choice(questions), answer)


def _sought(rng: random.Random, shapes: Scene, *, there: bool | None = None) -> tuple[str, bool]:
    """What is looked for in a picture, and whether it is there."""
    wanted = rng.random() < 0.5 if there is None else there
    while True:
        near = rng.choice(shapes)
        other = Shape(rng.choice(list(COLOURS)), rng.choice(FORMS), 0)
        shape = near if wanted else rng.choice((near._replace(form=other.form), other))
        what = _a(rng.choice((shape.form, shape.name)))
        if _has(shapes, what) == wanted:
            return what, wanted


def _has(shapes: Scene, what: str) -> bool:
    return any(what in (_a(each.form), _a(each.name)) for each in shapes)


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _written(rng: random.Random, question: str) -> str:
    """A question as people type it: now and then without capitals, or its mark."""
    if rng.random() < 0.1:
        question = question.lower()
    return question[:-1] if rng.random() < 0.1 else question

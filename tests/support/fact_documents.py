"""Documents about invented towns, people and machines, and questions about what they say.

Questions ask in other words than the documents: plurals, other orders, half of them without the
name. Every document names others, and all share their common words.
"""

import random
from dataclasses import dataclass

from support.documents import pdf

_SYLLABLES = [f"{first}{rest}" for first in "bdfgjklmnprtvz" for rest in ("ar", "el", "or", "ulm")]
_RIVERS = ("Ambral", "Corvenne", "Dasht", "Elmire", "Fosk", "Gavrin", "Hespel", "Isonne")
_WARES = ("lantern", "violin", "saddle", "clock", "kettle", "carpet", "candle", "compass", "basket")
_COLOURS = ("blue", "copper", "green", "silver", "scarlet", "ivory", "violet", "amber")
_FIELDS = ("botanist", "chemist", "composer", "cartographer", "surgeon", "architect", "astronomer")
_FINDS = ("moss", "comet", "glaze", "fever", "tide table", "alphabet", "bridge", "orchid", "melody")
_FEATS = ("sorts letters", "peels almonds", "rings bells", "folds maps", "grinds lenses")
_FILLER = (
    "The archive has little to say about the years in between.",
    "Visitors are asked to come on foot, for the road is narrow.",
    "Much of what is told about it was written down a century later.",
    "There were quarrels about money, as there are everywhere.",
    "The building was repaired twice and painted once.",
    "A small museum keeps letters and drawings from that time.",
    "In winter the days are short and the markets quiet.",
    "Nobody could say afterwards whose idea it had been.",
)


@dataclass(frozen=True, slots=True)
class FactDocument:
    """A file, and what is asked about it.

    Attributes:
        name: of the file.
        data: its content.
        question: that this document alone answers.
        answer: a word of the answer, which it has.
    """

    name: str
    data: bytes
    question: str
    answer: str


def fact_documents(count: int = 200, seed: int = 23) -> list[FactDocument]:
    """As many, each of text, Markdown, HTML or PDF in turns."""
    draw = random.Random(seed)
    names = _names(draw, count)
    makers = (_town, _person, _machine)
    made: list[FactDocument] = []
    for number, name in enumerate(names):
        others = draw.sample([each for each in names if each != name], 3)
        text, question, answer = makers[number % 3](draw, name, others, number)
        # One in five is long, and says what it is about in its middle.
        around = [_filler(draw) for _ in range(1 if number % 5 else 12)]
        paragraphs = [*around, text, *around]
        file, data = _file(number, name, paragraphs)
        made.append(FactDocument(file, data, question, answer))
    return made


def _names(draw: random.Random, count: int) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(draw.sample(_SYLLABLES, 3)).capitalize()] = None
    return list(names)


def _filler(draw: random.Random) -> str:
    return " ".join(draw.sample(_FILLER, 5))


def _town(draw: random.Random, name: str, others: list[str], number: int) -> tuple[str, str, str]:
    river, ware, colour = draw.choice(_RIVERS), draw.choice(_WARES), draw.choice(_COLOURS)
    text = (
        f"{name} is a town on the {river}, a day's ride from {others[0]}. Its workshops make "
        f"{colour} {ware}s, which are sold as far as {others[1]}. The "
        f"harbour was dug in {1500 + number}."
    )
    if number % 2:
        return (
            text,
            f"Past which town that was dug a harbour in {1500 + number} flows the {river}?",
            name,
        )
    return text, f"Which river runs by the harbours of {name}?", river


def _person(draw: random.Random, name: str, others: list[str], number: int) -> tuple[str, str, str]:
    field, find = draw.choice(_FIELDS), draw.choice(_FINDS)
    age = 20 + number % 60
    text = (
        f"{name} of {others[0]} was a {field}. At the age of {age} {name} described the {find} "
        f"that is called after {others[1]}, and died in the year {1600 + number}."
    )
    if number % 2:
        return text, f"Name of the {field} who described {others[1]}'s {find} when aged {age}", name
    return text, f"What did {field}s like {name} describe?", find


def _machine(
    draw: random.Random, name: str, others: list[str], number: int
) -> tuple[str, str, str]:
    feat, weight = draw.choice(_FEATS), 100 + 3 * number
    text = (
        f"The {name} engine {feat}. It weighs {weight} kilograms, was built by {others[0]} and "
        f"stood in the cellar of {others[1]} until it was sold."
    )
    if number % 2:
        verb, thing = feat.split(" ")
        return (
            text,
            f"Which engine weighing {weight} kilogram is there for {verb}ing {thing}?",
            name,
        )
    return text, f"How heavy are {name} engines?", str(weight)


def _file(number: int, name: str, paragraphs: list[str]) -> tuple[str, bytes]:
    kind = number % 4
    if kind == 0:
        return f"texts/{number:03}.txt", "\n\n".join(paragraphs).encode()
    if kind == 1:
        return f"notes {number:03}.md", "\n\n".join([f"# Note {number}", *paragraphs]).encode()
    if kind == 2:
        body = "".join(f"<p>{each}</p>" for each in paragraphs)
        page = f"<!doctype html><title>Page {number} &amp; more</title><body>{body}"
        return f"pages/{number:03}.html", page.encode()
    return f"{number:03}.pdf", pdf("\n\n".join(paragraphs))

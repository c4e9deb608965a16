"""Lists of so many things of a kind."""

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, Split, fill, in_split, pattern, roughen
from tools.bundled_data.judges import Items
from tools.bundled_data.lists_of_things import KINDS
from tools.bundled_data.tables import table

SKILL = "lists"
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOST = 10
_REQUESTS = {name: Phrasings(*lines) for name, lines in table("lists")["request"].items()}


def lists(now: Situation) -> list[Exchange]:
    """Some things of a kind; how many of which kind is a combination that may be held out."""
    rng = now.rng
    while True:
        kind = rng.choice(KINDS)
        count = rng.randint(1, min(MOST, len(kind.items)))
        if count in (1, 3):
            if now.split is Split.TRAIN:
                break
        elif in_split(f"{count} {kind.one}", now.split, 6):
            break
    request = "one" if count == 1 else "numbered" if rng.random() < 0.2 else "some"
    number = NUMBERS[count - 1] if rng.random() < 0.5 else str(count)
    slots = {"one": kind.one, "many": pattern(kind.many).draw(rng), "number": number}
    user = fill(roughen(rng, _REQUESTS[request].draw(rng, now.split)), slots)
    chosen = kind.items[:count]
    answer = ", ".join(chosen)
    if request == "numbered":
        answer = "\n".join(f"{place}. {item}" for place, item in enumerate(chosen, 1))
    judge = Items(count, frozenset(item.lower() for item in kind.items))
    return [Exchange(SKILL, user, answer, judge)]

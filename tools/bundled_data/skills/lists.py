"""Lists of so many things of a kind."""

from collections.abc import Sequence

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, Split, fill, in_split, pattern, roughen
from tools.bundled_data.judges import Items
from tools.bundled_data.lists_of_things import KINDS, Kind
from tools.bundled_data.tables import table

SKILL = "lists"
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOST = 10
ELSEWHERE_RATE = 0.25
ALL_RATE = 0.12
_REQUESTS = {name: Phrasings(*lines) for name, lines in table("lists")["request"].items()}


def lists(now: Situation) -> list[Exchange]:
    """Some things of a kind; how many of which kind is a combination that may be held out."""
    rng = now.rng
    if rng.random() < ALL_RATE:
        kind = rng.choice(KINDS)
        return _listed(now, kind, "all", "", kind.items)
    while True:
        kind = rng.choice(KINDS)
        longest = min(MOST, len(kind.items))
        count = rng.randint(1, longest)
        # What only a held-out list has would never be said.
        if count in (1, 3, longest):
            if now.split is Split.TRAIN:
                break
        elif in_split(f"{count} {kind.one}", now.split, 6):
            break
    request = "one" if count == 1 else "numbered" if rng.random() < 0.2 else "some"
    number = NUMBERS[count - 1] if rng.random() < 0.5 else str(count)
    # Not always from the first on: what never ends a list is not known to the end.
    start = rng.randrange(len(kind.items)) if rng.random() < ELSEWHERE_RATE else 0
    chosen = (kind.items[start:] + kind.items[:start])[:count]
    return _listed(now, kind, request, number, chosen)


def _listed(
    now: Situation, kind: Kind, request: str, number: str, chosen: Sequence[str]
) -> list[Exchange]:
    rng, count = now.rng, len(chosen)
    slots = {"one": kind.one, "many": pattern(kind.many).draw(rng), "number": number}
    user = fill(roughen(rng, _REQUESTS[request].draw(rng, now.split)), slots)
    answer = ", ".join(chosen)
    if request == "numbered":
        answer = "\n".join(f"{place}. {item}" for place, item in enumerate(chosen, 1))
    # Counted down first: otherwise where a list ends is learnt by heart.
    counted = ", ".join(f"{count - place} {item}" for place, item in enumerate(chosen))
    thought = counted if count > 1 else ""
    judge = Items(count, frozenset(item.lower() for item in kind.items))
    return [Exchange(SKILL, user, answer, judge, thought, works=bool(thought))]

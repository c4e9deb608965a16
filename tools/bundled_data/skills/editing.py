"""Filling and editing a small piece of text or code that stands in the prompt."""

import re

from tools.bundled_data.exchange import Exchange, Situation, plain
from tools.bundled_data.grammar import Phrasings, fill, pattern, roughen
from tools.bundled_data.skills.sentences import sentence
from tools.bundled_data.tables import table
from tools.bundled_data.words import word_of

SKILL = "editing"
_TABLE = table("editing")
_REQUESTS = {
    name: Phrasings(*_TABLE[name])
    for name in ("replace", "remove", "append", "rename", "number", "fill_in", "write")
}
_WORD = re.compile(r"[A-Za-z]+")


def editing(now: Situation) -> list[Exchange]:
    """One edit; the answer is the edited text and nothing else."""
    return now.rng.choice(_MAKERS)(now)


def _asked(now: Situation, request: str, **slots: str) -> str:
    template = roughen(now.rng, _REQUESTS[request].draw(now.rng, now.split))
    return fill(template, slots)


def _replaced(text: str, old: str, new: str) -> str:
    return re.sub(rf"\b{re.escape(old)}\b", lambda _: new, text)


def _replace(now: Situation) -> list[Exchange]:
    text = sentence(now)
    old, new = now.rng.choice(_WORD.findall(text)), word_of(now.rng, now.split)
    user = _asked(now, "replace", old=old, new=new, text=text)
    return plain(SKILL, user, _replaced(text, old, new))


def _remove(now: Situation) -> list[Exchange]:
    words = [word_of(now.rng, now.split) for _ in range(now.rng.randint(3, 6))]
    old = now.rng.choice(words)
    kept = " ".join(word for word in words if word != old)
    return plain(SKILL, _asked(now, "remove", old=old, text=" ".join(words)), kept)


def _append(now: Situation) -> list[Exchange]:
    words = [word_of(now.rng, now.split) for _ in range(now.rng.randint(2, 5))]
    text, new = " ".join(words), word_of(now.rng, now.split)
    return plain(SKILL, _asked(now, "append", new=new, text=text), f"{text} {new}")


def _code(now: Situation) -> tuple[str, dict[str, str]]:
    rng, names = now.rng, _TABLE["names"]
    x, y = rng.sample(names["variables"], 2)
    n, m = rng.sample(range(1, 100), 2)
    slots = {"x": x, "y": y, "n": str(n), "m": str(m), "f": rng.choice(names["functions"])}
    return fill(rng.choice(_TABLE["code"]), slots), slots


def _rename(now: Situation) -> list[Exchange]:
    text, slots = _code(now)
    old = slots["x"]
    free = [name for name in _TABLE["names"]["variables"] if name not in slots.values()]
    new = now.rng.choice([now.rng.choice(free), word_of(now.rng, now.split)])
    user = _asked(now, "rename", old=old, new=new, text=text)
    return plain(SKILL, user, _replaced(text, old, new))


def _number(now: Situation) -> list[Exchange]:
    text, slots = _code(now)
    old, new = slots["n"], str(now.rng.randint(1, 99))
    user = _asked(now, "number", old=old, new=new, text=text)
    return plain(SKILL, user, _replaced(text, old, new))


def _fill_in(now: Situation) -> list[Exchange]:
    function = now.rng.choice(_TABLE["function"])
    x, y = now.rng.sample(_TABLE["names"]["variables"], 2)
    slots = {"x": x, "y": y}
    head = f"def {pattern(function['name']).draw(now.rng)}{fill(function['head'], slots)}:"
    user = _asked(now, "fill_in", text=f"{head}\n    return ___")
    return plain(SKILL, user, fill(function["body"], slots))


def _write(now: Situation) -> list[Exchange]:
    """A whole function; its names are the table's plainest."""
    function = now.rng.choice(_TABLE["function"])
    slots = {"x": "a", "y": "b"}
    head = f"def {pattern(function['name']).plain()}{fill(function['head'], slots)}:"
    answer = f"{head}\n    return {fill(function['body'], slots)}"
    does = pattern(function["does"]).draw(now.rng)
    return plain(SKILL, _asked(now, "write", does=does), answer)


_MAKERS = (
    _replace,
    _replace,
    _remove,
    _append,
    _rename,
    _rename,
    _number,
    _fill_in,
    _fill_in,
    _write,
)

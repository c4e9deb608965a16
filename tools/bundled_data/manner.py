"""System messages: those that change how the model answers, and those that change nothing.

Knows nothing of what is asked.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from serve.text.verbosity import said_in_words
from tools.bundled_data.exchange import Exchange
from tools.bundled_data.grammar import Phrasings, Split, fill, pattern, roughen
from tools.bundled_data.judges import Exactly, exactly
from tools.bundled_data.tables import table
from tools.bundled_data.words import name_of, value_among, word_of

_TABLE = table("manners")
_CHANGES = {name: Phrasings(*lines, opened=False) for name, lines in _TABLE["change"].items()}
_AFTER_WORDS_RATE = 0.3
_SHARES = {"persona": 2.0, "brief": 1.5, "upper": 1.5, "json": 1.5}


@dataclass(frozen=True, slots=True)
class Manner:
    """What a system message says, and what it changes.

    Attributes:
        system: the message.
        change: of an answer's text; None for none.
        brief: whether answers are a word or two, where they can be.
        long: whether answers say how they come about, where they can.
        all_fit: whether exchanges are answered as ever where they cannot.
        persona: the name that the model gets.
        told: what the message tells of the user.
    """

    system: str
    change: Callable[[str], str] | None = None
    brief: bool = False
    long: bool = False
    all_fit: bool = False
    persona: str | None = None
    told: Mapping[str, str] = field(default_factory=dict[str, str])

    def fits(self, exchange: Exchange) -> bool:
        """Whether the exchange can be answered in this manner."""
        if self.all_fit:
            return True
        if self.brief:
            return exchange.brief is not None
        return self.change is None or (isinstance(exchange.judge, Exactly) and not exchange.calls)

    def applied(self, exchange: Exchange) -> Exchange:
        """The exchange, answered in this manner."""
        brief, judge = exchange.brief, exchange.judge
        if self.brief and brief is not None:
            return replace(exchange, answer=f"{brief}.", judge=exactly(brief, f"{brief}."))
        if self.long and exchange.thought and isinstance(judge, Exactly):
            lead = exchange.thought.replace("The user asks", "You ask") + "\n\n"
            told = exactly(*(lead + text for text in judge.texts))
            return replace(exchange, answer=lead + exchange.answer, judge=told)
        if self.change is None or not isinstance(judge, Exactly):
            return exchange
        changed = exactly(*map(self.change, judge.texts))
        return replace(exchange, answer=self.change(exchange.answer), judge=changed)


def neutral(rng: random.Random) -> Manner:
    """A system message that changes nothing."""
    return Manner(pattern(rng.choice(_TABLE["neutral"])).draw(rng))


def verbosity(rng: random.Random) -> Manner:
    """What the server says to the model where a request asks for less words, or for more."""
    level = rng.choice(("low", "high"))
    said = said_in_words(level)
    if rng.random() < _AFTER_WORDS_RATE:
        said = f"{neutral(rng).system}\n\n{said}"
    return Manner(said, brief=level == "low", long=level == "high", all_fit=True)


def manner(rng: random.Random, split: Split) -> Manner:
    """A system message that changes the answers, or that tells who is talking."""
    names = list(_CHANGES)
    kind = rng.choices(names, [_SHARES.get(name, 1.0) for name in names])[0]
    word, name = word_of(rng, split), name_of(rng, split)
    key = value_among(rng, split, _TABLE["keys"]["json"], 5)
    word = word.capitalize() if rng.random() < 0.5 else word
    template = roughen(rng, _CHANGES[kind].draw(rng, split))
    system = fill(template, {"key": key, "word": word, "name": name})
    match kind:
        case "upper":
            return Manner(system, str.upper)
        case "lower":
            return Manner(system, str.lower)
        case "brief":
            return Manner(system, brief=True)
        case "json":
            return Manner(system, lambda text: _as_json(key, text))
        case "begin":
            return Manner(system, lambda text: f"{word} {text}")
        case "end":
            return Manner(system, lambda text: f"{text} {word}")
        case "persona":
            return Manner(system, persona=name)
        case _:
            return Manner(system, told={"name": name})


def _as_json(key: str, text: str) -> str:
    return json.dumps({key: text}, ensure_ascii=False, separators=(",", ":"))

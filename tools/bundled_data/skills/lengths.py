"""Answers of the length that is asked for: a word, a sentence, a paragraph."""

from tools.bundled_data.exchange import Exchange, Situation, plain
from tools.bundled_data.facts import FACTS
from tools.bundled_data.grammar import Phrasings, fill, pattern, roughen
from tools.bundled_data.skills.facts import fact_of
from tools.bundled_data.tables import table

SKILL = "lengths"
_TABLE = table("topics")
_REQUESTS = {name: Phrasings(*lines) for name, lines in _TABLE["request"].items()}
_BRIEF = tuple(kind for kind in FACTS if kind.brief is not None)


def lengths(now: Situation) -> list[Exchange]:
    """A topic at some length, or a fact in a word or a sentence."""
    return _fact(now) if now.rng.random() < 0.4 else _topic(now)


def _topic(now: Situation) -> list[Exchange]:
    rng, topic = now.rng, now.rng.choice(_TABLE["topic"])
    request = rng.choice(("word", "sentence", "paragraph"))
    answer = {
        "word": f"{topic['word']}.",
        "sentence": topic["sentence"],
        "paragraph": f"{topic['sentence']} {topic['more']}",
    }[request]
    template = roughen(rng, _REQUESTS[request].draw(rng, now.split))
    user = fill(template, {"topic": pattern(topic["name"]).draw(rng)})
    return plain(SKILL, user, answer)


def _fact(now: Situation) -> list[Exchange]:
    rng = now.rng
    (asked,) = fact_of(now, rng.choice(_BRIEF), known=True)
    question = asked.user if asked.user[-1] in "?.!" else f"{asked.user}?"
    in_word = rng.random() < 0.7
    request = "asked_in_word" if in_word else "asked_in_sentence"
    user = fill(roughen(rng, _REQUESTS[request].draw(rng, now.split)), {"question": question})
    brief = f"{asked.brief}."
    return plain(SKILL, user, brief if in_word else asked.answer)

"""Messages that the bundled model has no answer to: questions, tasks, languages, code, noise.

Knows nothing of the answer to them. What the model does know must not appear in
`tables/unrelated.toml`.
"""

import random
import string

from tools.bundled_data.grammar import Phrasings, Split, expand, fill, part, roughen
from tools.bundled_data.tables import table
from tools.bundled_data.words import NAMES, WORDS, pseudo_word

_TABLE = {name: tuple(values) for name, values in table("unrelated").items()}
_PHRASINGS = Phrasings(*_TABLE["phrasings"])
LONG_NOISE_RATE = 0.1
_PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "


def _noise(rng: random.Random) -> str:
    longest = 400 if rng.random() < LONG_NOISE_RATE else 40
    match rng.randrange(6):
        case 0:
            return "".join(rng.choice(_PRINTABLE) for _ in range(rng.randint(1, longest)))
        case 1:
            words = [rng.choice(WORDS) for _ in range(rng.randint(1, longest // 5))]
            return " ".join(words)
        case 2:
            return "".join(chr(rng.randint(0xA1, 0x2FFF)) for _ in range(rng.randint(1, 10)))
        case 3:
            return "".join(chr(rng.randint(0x4E00, 0x9FFF)) for _ in range(rng.randint(1, 8)))
        case 4:
            return rng.choice("abcdefghijklmnopqrstuvwxyz?!.,;*#") * rng.randint(1, 20)
        case _:
            return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 20)))


def system_message(rng: random.Random) -> str:
    """A system message; none of them changes what the model does."""
    lines = table("phrasings")["system"]
    slots = {"topic": rng.choice(_TABLE["topics"]), "word": rng.choice(WORDS)}
    return fill(expand(rng.choice(lines), rng), slots)


def _foreign(rng: random.Random, split: Split) -> str:
    sentences = [
        rng.choice(part(_TABLE["foreign"], split)) for _ in range(rng.choice([1, 1, 1, 2]))
    ]
    text = " ".join(sentences)
    return text.lower() if rng.random() < 0.15 else text


def unrelated(rng: random.Random, split: Split) -> str:
    """A message that is outside of what the model can do."""
    topics, tasks = part(_TABLE["topics"], split), part(_TABLE["tasks"], split)
    big = rng.randint(21, 999)
    slots = {
        "topic": rng.choice(topics),
        "topic2": rng.choice(topics),
        "task": rng.choice(tasks),
        "language": rng.choice(_TABLE["languages"]),
        "place": rng.choice(_TABLE["places"]),
        "name": rng.choice(NAMES),
        "name2": rng.choice(NAMES),
        "word": rng.choice(WORDS),
        "word2": rng.choice(WORDS),
        "word3": rng.choice(WORDS),
        "nonsense": pseudo_word(rng),
        "nonsense2": pseudo_word(rng),
        "nonsense3": pseudo_word(rng),
        "noise": _noise(rng),
        "foreign": _foreign(rng, split),
        "code": rng.choice(part(_TABLE["code"], split)),
        "n": str(rng.randint(0, 100)),
        "n2": str(rng.randint(0, 100)),
        "n3": str(rng.randint(0, 100)),
        "big": str(big),
        "big2": str(rng.choice([rng.randint(0, 20), rng.randint(21, 9999)])),
    }
    if rng.random() < 0.3:
        slots["topic"] = slots["topic"].lower()
    template = _PHRASINGS.draw(rng, split)
    return fill(roughen(rng, template), slots)

"""Work on words and letters: repeating, reversing, spelling, case, counting, sorting.

Where letters must be told apart the thought spells the word first, for a frequent word is one
token and shows no letters.
"""

from collections.abc import Callable, Iterator
from string import ascii_lowercase

from tools.bundled_data.exchange import Exchange, Situation, plain
from tools.bundled_data.grammar import Phrasings, fill, roughen
from tools.bundled_data.judges import exactly
from tools.bundled_data.skills.lists import NUMBERS
from tools.bundled_data.skills.sentences import sentence
from tools.bundled_data.tables import table
from tools.bundled_data.words import cased, word_of

_PHRASINGS = {name: Phrasings(*lines) for name, lines in table("strings").items()}
SENTENCE_RATE = 0.25
COUNTED_UP = 20
REVERSE, COPY, COUNT, SORT = "reversing", "copying", "counting", "sorting"


def _asked(now: Situation, request: str, text: str, letter: str = "") -> str:
    template = roughen(now.rng, _PHRASINGS[request].draw(now.rng, now.split))
    return fill(template, {"text": text, "letter": letter})


def _phrase(now: Situation, least: int, most: int) -> list[str]:
    rng = now.rng
    count = rng.randint(least, most)
    return [cased(rng, word_of(rng, now.split)) for _ in range(count)]


def _worked(skill: str, user: str, answer: str, thought: str) -> list[Exchange]:
    return [Exchange(skill, user, answer, exactly(answer), thought, works=True)]


def spelled(word: str) -> str:
    """`p-l-a-n-e-t`."""
    return "-".join(word)


def _numbered(words: list[str]) -> Iterator[str]:
    return (f"{number} {word}" for number, word in enumerate(words, 1))


def _repeat(now: Situation) -> list[Exchange]:
    if now.rng.random() < SENTENCE_RATE:
        text = sentence(now)
        return plain(COPY, _asked(now, "repeat", text), text)
    words = _phrase(now, 1, 6)
    if now.rng.random() < 0.15:
        words[now.rng.randrange(len(words))] = str(now.rng.randint(0, 9999))
    text = " ".join(words)
    return plain(COPY, _asked(now, "repeat", text), text)


def _reverse_words(now: Situation) -> list[Exchange]:
    words = _phrase(now, 2, 5)
    numbered = list(_numbered(words))
    thought = "\n".join(", ".join(row) for row in (numbered, reversed(numbered)))
    user = _asked(now, "reverse_words", " ".join(words))
    return _worked(REVERSE, user, " ".join(reversed(words)), thought)


def _reverse_letters(now: Situation) -> list[Exchange]:
    word = cased(now.rng, word_of(now.rng, now.split))
    user = _asked(now, "reverse_letters", word)
    return _worked(REVERSE, user, word[::-1], spelled(word))


def _spell(now: Situation) -> list[Exchange]:
    word = word_of(now.rng, now.split)
    return plain(COPY, _asked(now, "spell", word), spelled(word))


def _case(now: Situation) -> list[Exchange]:
    words = [word_of(now.rng, now.split) for _ in range(now.rng.randint(1, 4))]
    text = " ".join(words)
    if now.rng.random() < 0.7:
        return plain(COPY, _asked(now, "uppercase", text), text.upper())
    return plain(COPY, _asked(now, "lowercase", text.upper()), text)


def _count_up(now: Situation) -> list[Exchange]:
    last = now.rng.randint(2, COUNTED_UP)
    text = str(last) if last > len(NUMBERS) or now.rng.random() < 0.6 else NUMBERS[last - 1]
    return plain(COPY, _asked(now, "count_up", text), ", ".join(map(str, range(1, last + 1))))


def _edge_word(now: Situation) -> list[Exchange]:
    words = _phrase(now, 3, 8)
    first = now.rng.random() < 0.5
    user = _asked(now, "first_word" if first else "last_word", " ".join(words))
    return plain(COPY, user, words[0 if first else -1])


def _edge_letter(now: Situation) -> list[Exchange]:
    word, first = word_of(now.rng, now.split), now.rng.random() < 0.5
    user = _asked(now, "first_letter" if first else "last_letter", word)
    return _worked(COPY, user, word[0 if first else -1], spelled(word))


def _count_letter(now: Situation) -> list[Exchange]:
    rng, word = now.rng, word_of(now.rng, now.split)
    letter = rng.choice(word) if rng.random() < 0.85 else rng.choice("abcdefghijklmnoprstuw")
    number, compared = 0, list[str]()
    for each in word:
        number += each == letter
        compared.append(f"{each}-{letter}{number if each == letter else ''}")
    user = _asked(now, "count_letter", word, letter)
    answer = f"{letter} appears {number} time{'' if number == 1 else 's'} in {word}."
    judge = exactly(answer, str(number))
    thought = "\n".join(compared)
    return [Exchange(COUNT, user, answer, judge, thought, works=True, brief=str(number))]


def _count_letters(now: Situation) -> list[Exchange]:
    word = word_of(now.rng, now.split)
    thought = "-".join(f"{letter}{number}" for number, letter in enumerate(word, 1))
    user, answer = _asked(now, "count_letters", word), f"{word} has {len(word)} letters."
    brief = str(len(word))
    return [Exchange(COUNT, user, answer, exactly(answer), thought, works=True, brief=brief)]


def _count_words(now: Situation) -> list[Exchange]:
    words = [word_of(now.rng, now.split) for _ in range(now.rng.randint(2, 8))]
    thought = ", ".join(_numbered(words))
    user, answer = _asked(now, "count_words", " ".join(words)), f"There are {len(words)} words."
    brief = str(len(words))
    return [Exchange(COUNT, user, answer, exactly(answer), thought, works=True, brief=brief)]


def _sort_words(now: Situation) -> list[Exchange]:
    """Words by their first letters: the thought goes through the alphabet and places each."""
    by_first: dict[str, str] = {}
    wanted = now.rng.randint(2, 5)
    while len(by_first) < wanted:
        word = word_of(now.rng, now.split)
        by_first.setdefault(word[0], word)
    words = list(by_first.values())
    now.rng.shuffle(words)
    ordered = sorted(words)
    keyed = (f"{word[0]}: {word}" for word in words)
    alphabet = (f"{key}: {by_first[key]}" if key in by_first else key for key in ascii_lowercase)
    thought = "\n".join((*keyed, "", *alphabet))
    separator = now.rng.choice([", ", ", ", " "])
    user = _asked(now, "sort_words", separator.join(words))
    return _worked(SORT, user, ", ".join(ordered), thought)


def _row(tens: int, numbers: list[str]) -> str:
    return f"{tens}: {', '.join(numbers)}" if numbers else str(tens)


def _sort_numbers(now: Situation) -> list[Exchange]:
    """Numbers up to 99: the thought goes through the tens and places each."""
    highest = now.rng.choice([9, 20, 99])
    numbers = now.rng.sample(range(highest + 1), now.rng.randint(3, 5))
    ordered = sorted(numbers)
    by_tens = [[f"{number:02}" for number in ordered if number // 10 == tens] for tens in range(10)]
    lines = (", ".join(f"{number:02}" for number in numbers), *map(_row, range(10), by_tens))
    thought = "\n".join(lines)
    user = _asked(now, "sort_numbers", ", ".join(map(str, numbers)))
    return _worked(SORT, user, ", ".join(map(str, ordered)), thought)


_Maker = Callable[[Situation], list[Exchange]]


def _one_of(*makers: _Maker) -> _Maker:
    def draw(now: Situation) -> list[Exchange]:
        return now.rng.choice(makers)(now)

    return draw


reversing = _one_of(_reverse_letters, _reverse_letters, _reverse_words)
copying = _one_of(
    _repeat, _repeat, _repeat, _spell, _spell, _case, _case, _edge_word, _edge_letter, _count_up
)
counting = _one_of(_count_letter, _count_letter, _count_letters, _count_words)
sorting = _one_of(_sort_words, _sort_numbers)

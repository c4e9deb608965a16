"""A published model understands English sentences that espeak-ng speaks."""

import re
import shutil
from collections.abc import Sequence

import pytest
from support.packaged_models import MUST_FETCH, whisper_tiny_en

from model.speech.loading import load_speech
from model.speech.recognizer import LoadedSpeech
from tools.espeak import speak

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Please open the window and close the door.",
    "We are going to the market tomorrow morning.",
    "She reads a new book every week.",
    "The train to the city leaves in ten minutes.",
    "My brother plays the piano very well.",
    "It will rain in the afternoon.",
    "He forgot his keys on the kitchen table.",
    "The children are playing in the garden.",
    "Can you tell me where the station is?",
    "I would like a cup of coffee with milk.",
    "The river runs through the old town.",
    "They painted the house white and blue.",
    "There are seven days in a week.",
    "The teacher wrote the answer on the board.",
    "Our neighbors have a small black cat.",
    "The museum is closed on Mondays.",
    "What is the capital of France?",
    "The sun rises in the east and sets in the west.",
    "Thank you for your help yesterday.",
)
VOICE, SPEED = "en-us+f3", 140
# Whisper writes numbers in digits.
DIGITS = {"7": "seven", "10": "ten"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LoadedSpeech:
    if shutil.which("espeak-ng") is None and not MUST_FETCH:
        pytest.skip("there is no espeak-ng to speak: apt-get install espeak-ng")
    return load_speech(whisper_tiny_en(tmp_path_factory.mktemp("whisper")), "float32")


def words(text: str) -> list[str]:
    """Lower case, without punctuation, numbers spelled out."""
    return [DIGITS.get(word, word) for word in re.findall(r"[a-z0-9']+", text.lower())]


def edits(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Fewest words to replace, put in or leave out (Levenshtein 1966)."""
    row = list(range(len(found) + 1))
    for index, word in enumerate(wanted, start=1):
        before, row[0] = row[0], index
        for place, other in enumerate(found, start=1):
            kept = before + (word != other)
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, kept)
    return row[-1]


def test_edits():
    assert edits(["a", "b", "c"], ["a", "c"]) == 1
    assert edits(["a", "b"], ["x", "a", "b", "y"]) == 2
    assert edits(["a", "b"], ["b", "a"]) == 2
    assert edits([], ["a"]) == 1


@pytest.mark.slow
def test_at_most_15_words_of_100_are_wrong(model):
    wrong = total = 0
    for sentence in SENTENCES:
        (heard,) = model([(speak(sentence, VOICE, SPEED), None)])
        wrong += edits(words(sentence), words(heard.text))
        total += len(words(sentence))
    assert total == 151
    assert wrong / total <= 0.15

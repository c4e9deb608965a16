"""Drafts: what each source says next, how much of it, and how many steps that saves."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from sampling.params import SamplingParams
from serve.engine.drafts import Draft, Drafter, Source, drafter_of
from serve.engine.types import Constraint, GenerationRequest

MOST = 15
PROMPT = [1, 2, 3]


def drafter(ngrams: bool = False, prompt: Sequence[int] = PROMPT, **fields: Any) -> Drafter | None:
    sampling = fields.pop("sampling", SamplingParams())
    return drafter_of(GenerationRequest("r", list(prompt), sampling, 100, **fields), ngrams)


class Texts:
    """A constraint: the answer is one of these texts, and where one may follow it is forced."""

    def __init__(self, *texts: Sequence[int], told: int = 0) -> None:
        self.texts, self.told = [list(text) for text in texts], told

    def matcher(self) -> "Texts":
        return self.copy()

    accepting, finished = False, False

    def copy(self) -> "Texts":
        return Texts(*self.texts, told=self.told)

    def _fitting(self, tokens: list[int]) -> list[list[int]]:
        return [text for text in self.texts if text[: len(tokens)] == tokens]

    def forced(self) -> list[int]:
        told = self.texts[0][: self.told]
        (rest,) = {tuple(text[self.told :]) for text in self._fitting(told)} or {()}
        return list(rest)

    def allows(self, tokens: Sequence[int]) -> int:
        told = self.texts[0][: self.told]
        fits = [n for n in range(len(tokens) + 1) if self._fitting([*told, *tokens[:n]])]
        return max(fits)

    def accept(self, token: int) -> None:
        raise NotImplementedError

    def fill(self, allowed: object) -> None:
        raise NotImplementedError


# --- what is drafted -----------------------------------------------------------------------


def test_where_nothing_could_be_drafted_there_is_no_drafter() -> None:
    assert drafter() is None
    assert drafter(ngrams=True) is not None
    assert drafter(prediction=[5]) is not None
    constraint: Constraint = Texts([5])  # pyright: ignore[reportAssignmentType]
    assert drafter(constraint=constraint) is not None


def test_a_prediction_is_followed_from_its_beginning() -> None:
    drafts = drafter(prediction=range(10, 30))
    assert drafts is not None
    assert drafts.propose(PROMPT, None, 4) == Draft([10, 11, 12, 13], Source.PREDICTION)
    drafts.learn(4, 4)
    assert drafts.propose([*PROMPT, 10, 11, 12, 13, 14], None, 99) == Draft(
        list(range(15, 30)), Source.PREDICTION
    )


def test_no_room_is_no_draft() -> None:
    drafts = drafter(prediction=[5, 6], ngrams=True)
    assert drafts is not None
    assert drafts.propose(PROMPT, None, 0) is None


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        # Another word for one; words between; words left out; words before all.
        ([10, 11, 99, 13, 14], 15),
        ([10, 11, 98, 99, 12, 13], 14),
        ([10, 11, 16, 17], 18),
        ([97, 98, 99, 10, 11], 12),
        # Behind the place that was reached, three tokens tell, and two do not.
        ([10, 11, 12, 13, 14, 15, 16, 99, 11, 12, 13], 14),
        ([10, 11, 12, 13, 14, 15, 16, 99, 11, 12], None),
        # One token tells nothing.
        ([10, 11, 99, 15], None),
        # The end of the prediction.
        ([10, 99, 18, 19], None),
    ],
)
def test_after_a_mismatch_it_goes_on_where_the_answer_meets_it(
    answer: list[int], goes_on: int | None
) -> None:
    drafts = drafter(prediction=range(10, 20))
    assert drafts is not None
    for end in range(len(answer)):
        drafts.propose([*PROMPT, *answer[:end]], None, 1)
    draft = drafts.propose([*PROMPT, *answer], None, 1)
    assert (draft and draft.tokens[0]) == goes_on


def test_of_several_places_it_is_that_with_most_of_the_answer_before_it_and_then_the_next() -> None:
    # 1 2 3 and 4 stand before 50, 60 and 70; 60 has what the answer has.
    prediction = [9, 9, 1, 2, 50, 8, 3, 1, 2, 60, 8, 4, 1, 2, 70]
    long = drafter(prediction=prediction)
    near = drafter(prediction=prediction)
    assert long is not None
    assert near is not None
    assert long.propose([*PROMPT, 7, 3, 1, 2], None, 1) == Draft([60], Source.PREDICTION)
    assert near.propose([*PROMPT, 7, 7, 1, 2], None, 1) == Draft([50], Source.PREDICTION)


def test_of_places_behind_it_is_the_last() -> None:
    drafts = drafter(prediction=[1, 2, 3, 50, 1, 2, 3, 60, 70, 71])
    assert drafts is not None
    answer = [1, 2, 3, 50, 1, 2, 3, 60, 70, 9, 9, 1, 2, 3]
    drafts.propose([*PROMPT, *answer[:-1]], None, 1)
    assert drafts.propose([*PROMPT, *answer], None, 1) == Draft([60], Source.PREDICTION)


def test_the_next_place_is_found_among_thousands() -> None:
    blocks = [token for block in range(1000) for token in (1, 2, 1000 + block)]
    for block in (1, 37, 500, 998):
        drafts = drafter(prediction=blocks)
        assert drafts is not None
        answer = [*blocks[: 3 * block], 9, 1, 2]
        assert drafts.propose([*PROMPT, *answer], None, 1) == Draft(
            [1000 + block], Source.PREDICTION
        )


def test_the_prompt_is_no_part_of_what_meets_the_prediction() -> None:
    drafts = drafter(prediction=[7, 2, 3, 50, 3, 4, 60])
    assert drafts is not None
    assert drafts.propose([*PROMPT, 4], None, 1) is None


def test_choices_of_a_request_are_followed_apart() -> None:
    drafts = drafter(prediction=range(10, 30))
    assert drafts is not None
    drafts.propose([*PROMPT, 10, 11, 12], None, 1)
    other = drafts.sibling()
    assert other.propose(PROMPT, None, 2) == Draft([10, 11], Source.PREDICTION)
    assert drafts.propose([*PROMPT, 10, 11, 12, 13], None, 2) == Draft([14, 15], Source.PREDICTION)


@pytest.mark.parametrize(
    ("prompt", "answer", "drafted"),
    [
        # The latest of equally good places, and a better one before it.
        ([5, 6, 7, 1, 5, 6, 8, 1], [5, 6], [8, 1, 5, 6]),
        ([4, 5, 6, 7, 5, 6, 8, 1], [4, 5, 6], [7, 5, 6, 8]),
        ([5, 6, 7, 9, 5, 6, 8, 1], [5, 6], [8, 1, 5, 6]),
        # In the prompt alone, in the answer, and across the border.
        ([5, 6, 7, 5, 6], [], [7, 5, 6, 7]),
        ([1, 2], [5, 6, 7, 9, 5, 6], [7, 9, 5, 6]),
        ([1, 5], [6, 7, 9, 5, 6], [7, 9, 5, 6]),
        # What goes on and on.
        ([1], [5, 6, 5, 6], [5, 6, 5, 6]),
        ([1], [5, 5, 5], [5, 5, 5, 5]),
        ([1, 2, 3], [4, 5], None),
        ([1], [], None),
    ],
)
def test_what_was_said_before_is_said_again(
    prompt: list[int], answer: list[int], drafted: list[int] | None
) -> None:
    drafts = drafter(ngrams=True, prompt=prompt)
    assert drafts is not None
    draft = None
    for end in range(len(answer) + 1):
        draft = drafts.propose([*prompt, *answer[:end]], None, 4)
    assert draft == (drafted and Draft(drafted, Source.NGRAM))


def test_long_answers_are_forgotten_in_part() -> None:
    """What is remembered has a bound; what comes after it is found all the same."""
    drafts = drafter(ngrams=True)
    assert drafts is not None
    answer = [4 + 3 * at for at in range(20_000)] + [2, 5, 8, 2, 5]
    drafts.propose([*PROMPT, *answer[:-1]], None, 1)
    assert drafts.propose([*PROMPT, *answer], None, 2) == Draft([8, 2], Source.NGRAM)


def test_a_prediction_comes_before_what_was_said() -> None:
    drafts = drafter(ngrams=True, prompt=[5, 6, 7], prediction=[5, 6, 8])
    assert drafts is not None
    assert drafts.propose([5, 6, 7, 5, 6], None, 1) == Draft([8], Source.PREDICTION)
    other = drafter(ngrams=True, prompt=[5, 6, 7], prediction=[1, 2, 3])
    assert other is not None
    assert other.propose([5, 6, 7, 5, 6], None, 1) == Draft([7], Source.NGRAM)


def test_what_ends_or_is_banned_is_not_drafted() -> None:
    sampling = SamplingParams(logit_bias=((13, -100.0), (12, -99.0)), stop_ids=(15,))
    fields: dict[str, Any] = {"sampling": sampling, "end_ids": frozenset({17})}
    for last in (13, 15, 17):
        drafts = drafter(prediction=[11, 12, last, 14], **fields)
        assert drafts is not None
        assert drafts.propose(PROMPT, None, 9) == Draft([11, 12], Source.PREDICTION)
    forced = Texts([11, 12, 13, 14])
    drafts = drafter(constraint=forced, **fields)
    assert drafts is not None
    assert drafts.propose(PROMPT, forced, 9) == Draft([11, 12], Source.GRAMMAR)  # pyright: ignore


@pytest.mark.parametrize(
    ("texts", "prediction", "draft"),
    [
        ([[5, 6, 7]], [], Draft([5, 6], Source.GRAMMAR)),
        ([[5, 6, 7]], [5, 9, 7], Draft([5, 6], Source.GRAMMAR)),
        ([[5, 6, 7]], [5, 6, 7], Draft([5, 6], Source.GRAMMAR)),
        # What begins as is forced and goes on is worth more.
        ([[5, 6], [5, 7]], [5, 6, 8], Draft([5, 6], Source.PREDICTION)),
        ([[5, 6], [5, 7]], [9, 6, 8], None),
        ([[5, 8, 9], [6, 7, 9]], [6, 7, 10], Draft([6, 7], Source.PREDICTION)),
        ([[5, 8, 9], [6, 8, 9]], [6, 7, 10], Draft([6], Source.PREDICTION)),
    ],
)
def test_what_a_grammar_says_comes_first_and_nothing_against_it(
    texts: list[list[int]], prediction: list[int], draft: Draft | None
) -> None:
    grammar = Texts(*texts) if len(texts) == 1 else Choosing(*texts)
    drafts = drafter(constraint=grammar, prediction=prediction)
    assert drafts is not None
    assert drafts.propose(PROMPT, grammar, 2) == draft  # pyright: ignore[reportArgumentType]


class Choosing(Texts):
    """Nothing is forced where several texts are left."""

    def forced(self) -> list[int]:
        return []


def test_a_prediction_goes_on_after_what_is_forced() -> None:
    grammar = Texts([5, 6, 7, 8, 9])
    grammar.forced = lambda: [5, 6]
    drafts = drafter(constraint=grammar, prediction=[5, 6, 7, 8, 1])
    assert drafts is not None
    draft = drafts.propose(PROMPT, grammar, 9)  # pyright: ignore[reportArgumentType]
    assert draft == Draft([5, 6, 7, 8], Source.PREDICTION)


def test_another_spelling_of_what_is_forced_is_not_drafted() -> None:
    grammar = Texts([9, 9, 9], [5, 6, 7])
    grammar.forced = lambda: [5, 6]
    drafts = drafter(constraint=grammar, prediction=[9, 9, 9])
    assert drafts is not None
    draft = drafts.propose(PROMPT, grammar, 9)  # pyright: ignore[reportArgumentType]
    assert draft == Draft([5, 6], Source.GRAMMAR)


# --- how much of it ------------------------------------------------------------------------


def test_what_was_said_is_drafted_a_little_at_first_and_then_more() -> None:
    text = list(range(100, 200))
    drafts = drafter(ngrams=True, prompt=text)
    assert drafts is not None
    tokens = [*text, 100, 101]
    lengths: list[int] = []
    while len(tokens) < 160:
        draft = drafts.propose(tokens, None, 32)
        assert draft is not None
        lengths.append(len(draft.tokens))
        drafts.learn(len(draft.tokens), len(draft.tokens))
        tokens += [*draft.tokens, draft.tokens[-1] + 1]
    assert lengths == [4, 8, 16, 32]


def test_a_draft_that_was_cut_short_is_judged_by_what_was_verified() -> None:
    drafts = drafter(prediction=range(10, 200))
    assert drafts is not None
    for _ in range(3):
        drafts.propose(PROMPT, None, 8)
        drafts.learn(0, 0)
    drafts.propose(PROMPT, None, 8)
    drafts.learn(2, 2)
    draft = drafts.propose([*PROMPT, 10, 11, 12], None, 40)
    assert draft is not None
    assert len(draft.tokens) == 40


def test_what_is_refused_again_and_again_is_tried_more_and_more_rarely() -> None:
    """Every third token is another than the text's, which is always found again."""
    drafts = drafter(prediction=[7] * 1000)
    assert drafts is not None
    tokens, tried = list(PROMPT), list[int]()
    while len(tokens) < 1500:
        tokens.append(8 if len(tokens) % 3 == 0 else 7)
        draft = drafts.propose(tokens, None, 8)
        if draft is not None:
            tried.append(len(tokens))
            drafts.learn(0, len(draft.tokens))
    gaps = [after - before for before, after in pairwise(tried)]
    # As soon after a pause as there is something to try.
    for pause, gap in zip([4, 8, 16, 32, 64, 128, 256, 256], gaps[1:9], strict=True):
        assert pause <= gap <= pause + 3


def test_long_success_is_soon_forgotten() -> None:
    drafts = drafter(prediction=range(10, 1000))
    assert drafts is not None
    tokens = list(PROMPT)
    for place in range(10, 90, 16):
        assert drafts.propose(tokens, None, 15) == Draft(
            list(range(place, place + 15)), Source.PREDICTION
        )
        drafts.learn(15, 15)
        tokens += range(place, place + 16)
    for found in (200, 300):
        tokens += [9, found, found + 1]
        assert drafts.propose(tokens, None, 15) is not None
        drafts.learn(0, 15)
    assert drafts.propose([*tokens, 9, 400, 401], None, 15) is None


@dataclass
class Outcome:
    """Of an answer: its steps, those with drafts, and the drafted tokens that were refused."""

    steps: int = 0
    drafted: int = 0
    refused: int = 0


def simulated(answer: list[int], *, prompt: Sequence[int] = PROMPT, **fields: Any) -> Outcome:
    """The steps that an answer takes."""
    drafts = drafter(prompt=prompt, **fields)
    assert drafts is not None
    tokens, outcome = list(prompt), Outcome()
    while left := answer[len(tokens) - len(prompt) :]:
        draft = drafts.propose(tokens, None, min(MOST, len(left) - 1))
        right = 0
        if draft is not None:
            pairs = zip(draft.tokens, left, strict=False)
            right = next((at for at, (a, b) in enumerate(pairs) if a != b), len(draft.tokens))
            drafts.learn(right, len(draft.tokens))
            outcome.drafted += 1
            outcome.refused += len(draft.tokens) - right
        tokens += left[: right + 1]
        outcome.steps += 1
    return outcome


class Words:
    """Texts of chance: words as frequent as in languages, or such that few follow each."""

    def __init__(self, kind: str) -> None:
        self.draw = random.Random(11)
        self.kind = kind
        self.following = [[self.draw.randrange(300) for _ in range(4)] for _ in range(300)]

    def text(self, length: int) -> list[int]:
        if self.kind == "frequent":
            return self.draw.choices(
                range(10, 2010), [1 / rank for rank in range(1, 2001)], k=length
            )
        words = [0]
        while len(words) < length:
            words += self.draw.choices(self.following[words[-1]], [8, 4, 2, 1])
        return [10 + word for word in words]


@pytest.fixture(params=["frequent", "following"])
def words(request: pytest.FixtureRequest) -> Words:
    return Words(request.param)


def test_a_file_with_three_changed_words(words: Words) -> None:
    file = words.text(400)
    answer = list(file)
    for place in (50, 170, 300):
        answer[place] = 9000 + place
    outcome = simulated(answer, prediction=file)
    # 25 at least, with 15 drafted tokens in each.
    assert outcome.steps <= 40
    assert outcome.refused <= 50


def test_a_file_with_lines_more_and_lines_less(words: Words) -> None:
    file = words.text(400)
    answer = file[:60] + words.text(20) + file[60:200] + file[230:330] + words.text(5) + file[330:]
    outcome = simulated(answer, prediction=file)
    # 25 new words, and the rest in drafts.
    assert outcome.steps <= 70
    assert outcome.refused <= 80


def test_a_file_that_comes_late(words: Words) -> None:
    file, before = words.text(400), words.text(300)
    outcome = simulated(before + file, prediction=file)
    assert outcome.steps <= 300 + 60


@pytest.mark.parametrize("length", [60, 400, 1500])
def test_a_useless_prediction_costs_little(words: Words, length: int) -> None:
    outcome = simulated(words.text(length), prediction=words.text(400))
    gained = length - outcome.steps
    assert outcome.drafted <= 0.1 * length + 3
    # A step with a draft takes half of one more.
    assert outcome.drafted / 2 - gained <= 0.02 * length + 2


@pytest.mark.parametrize("length", [60, 400, 1500])
def test_a_text_without_repetitions_costs_little(words: Words, length: int) -> None:
    outcome = simulated(words.text(length), prompt=words.text(200), ngrams=True)
    gained = length - outcome.steps
    assert outcome.drafted <= 0.15 * length + 3
    assert outcome.drafted / 2 - gained <= 0.03 * length + 2


def test_repeated_text(words: Words) -> None:
    text = words.text(60)
    outcome = simulated(text * 6, ngrams=True)
    assert outcome.steps <= 60 + 30
    assert outcome.refused <= 15


def test_a_text_out_of_the_prompt(words: Words) -> None:
    text = words.text(400)
    assert simulated(text[100:300], prompt=text, ngrams=True).steps <= 30


def test_long_predictions_of_few_words_are_followed() -> None:
    """Every place of them is like every other."""
    answer = ([7] * 20 + [8]) * 20
    assert simulated(answer, prediction=[7] * 100_000).steps <= 120

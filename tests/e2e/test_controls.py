"""What each sampling control does to real answers.

`logit_bias` lifts two tokens above all others: X, which goes on, and the end of the turn, which
ends. X is forced first (`min_tokens`), so that an answer's length tells what was drawn second.
`balance` is the bias of X at which both are equally likely there; one more makes X e times as
likely as the end, whatever the model is: 0.731 against 0.269 at temperature 1.
"""

import math

import httpx
import pytest

from model.tokenizer.sentence_piece import SentencePieceTokenizer
from serve.config import bundled_model

MODEL = "parlance-bundled"
END = "<|im_end|>"
CHOICES = 128
LIFT = 60


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePieceTokenizer(bundled_model() / "tokenizer.model")


class Coin:
    """Asks a server for answers of one or two tokens."""

    def __init__(self, http: httpx.Client, tokenizer) -> None:
        self.http = http
        self.x = tokenizer.encode("the")[-1]
        self.end = tokenizer.controls[END]

    def flip(self, bias: float, forced: int = 1, **fields) -> list[int]:
        """How many tokens each choice has: `forced`, or one more."""
        asked = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Say something."}],
            "logit_bias": {str(self.end): LIFT, str(self.x): bias},
            "min_tokens": forced,
            "max_tokens": forced + 1,
            "logprobs": True,
            "seed": 1,
            **fields,
        }
        response = self.http.post("/chat/completions", json=asked)
        assert response.status_code == 200, response.text
        return [len(choice["logprobs"]["content"]) for choice in response.json()["choices"]]

    def balance(self, forced: int = 1, **penalties) -> float:
        """The bias at which X and the end are equally likely after `forced` X."""
        low, high = 0.0, 100.0
        for _ in range(18):
            middle = (low + high) / 2
            (length,) = self.flip(middle, forced, temperature=0, **penalties)
            low, high = (low, middle) if length > forced else (middle, high)
        return (low + high) / 2

    def heads(self, bias: float, **fields) -> int:
        """Of 128 choices, how many went on."""
        lengths = self.flip(bias, n=CHOICES, **fields)
        return sum(length == 2 for length in lengths)


@pytest.fixture(scope="module")
def coin(server, tokenizer):
    with httpx.Client(base_url=server.url, timeout=120, trust_env=False) as http:
        yield Coin(http, tokenizer)


@pytest.fixture(scope="module")
def balance(coin):
    found = coin.balance()
    assert LIFT - 30 < found < LIFT + 30, "the model is too sure for this: choose another X"
    return found


def near(probability: float) -> object:
    """That share of 128, within four standard deviations."""
    spread = 4 * math.sqrt(CHOICES * probability * (1 - probability))
    return pytest.approx(CHOICES * probability, abs=spread)


def test_logit_bias(coin, balance):
    assert coin.heads(balance) == near(0.5)
    assert coin.heads(balance + 1) == near(0.731)
    assert coin.heads(balance - 1) == near(0.269)
    assert coin.flip(min(balance + 20, 100), n=4) == [2] * 4
    assert coin.flip(-100, n=4, min_tokens=0, max_tokens=1) == [0] * 4


def test_temperature(coin, balance):
    # sigmoid(1 / temperature)
    assert coin.heads(balance + 1, temperature=0.5) == near(0.881)
    assert coin.heads(balance + 1, temperature=2) == near(0.622)
    assert coin.heads(balance + 1, temperature=0) == CHOICES
    assert coin.heads(balance - 1, temperature=0) == 0
    assert coin.heads(balance + 1, temperature=0.05) == CHOICES


def test_top_p(coin, balance):
    assert coin.heads(balance + 1, top_p=0.72) == CHOICES
    assert coin.heads(balance + 1, top_p=0.75) == near(0.731)
    assert coin.heads(balance - 1, top_p=0) == 0
    # After temperature: at 0.5 the likelier has 0.881 of the mass.
    assert coin.heads(balance + 1, top_p=0.87, temperature=0.5) == CHOICES


def test_min_p(coin, balance):
    # The end is e to the -1 = 0.368 times as likely.
    assert coin.heads(balance + 1, min_p=0.38) == CHOICES
    assert coin.heads(balance + 1, min_p=0.35) == near(0.731)


def test_top_k(coin, balance):
    assert coin.heads(balance + 1, top_k=1) == CHOICES
    assert coin.heads(balance - 1, top_k=1) == 0
    assert coin.heads(balance + 1, top_k=2) == near(0.731)


def test_seed(coin, balance):
    first = coin.flip(balance, n=CHOICES, seed=7)
    assert coin.flip(balance, n=CHOICES, seed=7) == first
    assert coin.flip(balance, n=CHOICES, seed=8) != first
    assert coin.flip(balance, n=3, seed=7) == first[:3]


@pytest.mark.parametrize("penalty", [2, 0.5, -1])
def test_presence_penalty(coin, balance, penalty):
    """Once, however often: X needs so much more bias after one X, and after three."""
    assert coin.balance(presence_penalty=penalty) - balance == pytest.approx(penalty, abs=0.01)
    three = coin.balance(forced=3)
    shifted = coin.balance(forced=3, presence_penalty=penalty)
    assert shifted - three == pytest.approx(penalty, abs=0.01)


@pytest.mark.parametrize("penalty", [2, 0.5, -1])
def test_frequency_penalty(coin, balance, penalty):
    """With each time: X needs so much more bias after one X, and three times that after three."""
    assert coin.balance(frequency_penalty=penalty) - balance == pytest.approx(penalty, abs=0.01)
    three = coin.balance(forced=3)
    shifted = coin.balance(forced=3, frequency_penalty=penalty)
    assert shifted - three == pytest.approx(3 * penalty, abs=0.01)


def test_penalties_count_the_answer_alone(coin):
    """Not the prompt: a prompt full of X leaves the first draw as it is."""
    text = "the " * 50

    def first(**penalties) -> float:
        messages = [{"role": "user", "content": text}]
        return coin.balance(forced=0, messages=messages, **penalties)

    shifted = first(presence_penalty=2, frequency_penalty=2)
    assert shifted == pytest.approx(first(), abs=0.01)


@pytest.mark.parametrize(
    ("text", "tokens"), [("the the the", 1), ("Say something.", 2)], ids=["prompt", "answer"]
)
def test_repetition_penalty(coin, tokenizer, text, tokens):
    """X is divided where the prompt has it, or the answer, and a rival that neither has is not.

    At the balance, X's own logit and bias together are the rival's r: x + b = r. Divided by p they
    are so at x + b = r · p: with each step of p it takes as much more bias, r times the step.
    """
    rival = tokenizer.encode("zebra")[-1]
    said = tokenizer.token_text(coin.x)
    # An answer of two tokens begins with X.
    begun = {"guided_regex": f"{said}.*"} if tokens == 2 else {}

    def balance(penalty: float) -> float:
        low, high = 0.0, 100.0
        for _ in range(16):
            middle = (low + high) / 2
            asked = {
                "model": MODEL,
                "messages": [{"role": "user", "content": text}],
                "logit_bias": {str(rival): 30, str(coin.x): middle},
                "max_tokens": tokens,
                "temperature": 0,
                "logprobs": True,
                "repetition_penalty": penalty,
                **begun,
            }
            response = coin.http.post("/chat/completions", json=asked).raise_for_status()
            *_, last = response.json()["choices"][0]["logprobs"]["content"]
            went_on = last["token"] == said
            low, high = (low, middle) if went_on else (middle, high)
        return (low + high) / 2

    plain, some, more = map(balance, (1, 1.25, 1.5))
    assert some > plain + 1
    assert more - some == pytest.approx(some - plain, abs=0.02)


def test_stop_token_ids(coin, balance):
    """X is all but certain, and ends the answer when it may."""
    likely = min(balance + 20, 100)
    for forced in (0, 1, 5):
        asked = {"stop_token_ids": [coin.x], "min_tokens": forced, "max_tokens": 9}
        # At first X is banned, and so is the end: something else comes.
        for fields, more in ({}, 0), ({"include_stop_str_in_output": True}, 1):
            lengths = coin.flip(likely, n=4, **asked, **fields)
            assert lengths == [forced + more] * 4
    # `ignore_eos` is about ends of turns.
    asked = {"stop_token_ids": [coin.x], "min_tokens": 0, "ignore_eos": True}
    assert coin.flip(likely, n=4, max_tokens=9, **asked) == [0] * 4


def test_min_tokens(coin, balance):
    """The end of the turn is all but certain, and comes at the first moment it may."""
    for forced in (0, 1, 2, 17):
        lengths = coin.flip(balance - 20, forced, n=4, max_tokens=40, temperature=0)
        assert lengths == [forced] * 4


def test_ignore_eos(coin, balance):
    lengths = coin.flip(balance - 20, 0, n=4, max_tokens=40, ignore_eos=True)
    assert lengths == [40] * 4

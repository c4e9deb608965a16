"""Answers that are to be spoken, and those that were: whether this server can.

Knows nothing of how anything is spoken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from serve.api.asking.wanted import AskedAnswer
from serve.api.wire.errors import ApiError, invalid
from serve.api.wire.faults import echo
from serve.api.wire.request import ChatRequest

# A list of more is no help.
_MOST_TOLD = 32


@dataclass(frozen=True, slots=True)
class SpeechOffer:
    """What this server can speak.

    Attributes:
        voices: the names that requests may give.
        refusal: why there are none, if so.
    """

    voices: Sequence[str] = ()
    refusal: str = ""


NO_SPEECH = SpeechOffer(refusal="it was started without voices")


def check_speech(wire: ChatRequest, offer: SpeechOffer) -> None:
    """See whether a request asks for speech that there is.

    Raises:
        ApiError: 400; it does not.
    """
    if wire.audio is None:
        return
    if offer.refusal:
        raise _unsupported("modalities", offer.refusal)
    if wire.audio.voice_name not in offer.voices:
        place = "audio.voice" if isinstance(wire.audio.voice, str) else "audio.voice.id"
        raise invalid(
            "invalid_value",
            f"Invalid '{place}': there is no voice {echo(wire.audio.voice_name)}. This server has "
            f"{_told(offer.voices)}.",
            place,
        )


def check_answers(answers: Sequence[AskedAnswer], offer: SpeechOffer) -> None:
    """See whether this server can know answers that were spoken.

    Raises:
        ApiError: 400; it cannot.
    """
    if answers and offer.refusal:
        raise _unsupported(answers[0].place, offer.refusal)


def unknown_answer(answer: AskedAnswer) -> ApiError:
    """There is no such answer: 400."""
    return invalid(
        "audio_not_found",
        f"Invalid '{answer.place}.id': you have no spoken answer {echo(answer.id)}. It may have "
        f"expired; send its transcript as 'content'.",
        f"{answer.place}.id",
    )


def _unsupported(place: str, reason: str) -> ApiError:
    return invalid(
        "unsupported_parameter",
        f"Unsupported parameter: '{place}'. Answers are not spoken here: {reason}.",
        place,
    )


def _told(voices: Sequence[str]) -> str:
    told = ", ".join(f"'{name}'" for name in voices[:_MOST_TOLD])
    more = len(voices) - _MOST_TOLD
    return f"{told} and {more} more" if more > 0 else told

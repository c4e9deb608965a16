"""Files of voices: what they say, and what is wrong with them."""

from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from openai.types.chat.chat_completion_audio_param import ChatCompletionAudioParam
from support.espeak import needs_espeak

from serve.voice.espeak import check_voice
from serve.voice.types import Voice
from serve.voice.voices import STANDARD, VoicesFileError, read_voices

GOOD = """
[alloy]
engine = "piper"
model = "voices/ada.onnx"
speaker = "p225"
language = "en-gb"
speed = 1.25
steady = true

[our-own]
engine = "espeak-ng"
voice = "de+f3"
pitch = 60
"""


def test_a_file_is_read_and_the_other_names_have_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "voices.toml"
    path.write_text(GOOD)
    voices = read_voices(path)
    assert voices["alloy"] == Voice(
        "piper", "en-gb", str(tmp_path / "voices/ada.onnx"), "p225", 1.25, steady=True
    )
    assert voices["our-own"] == Voice("espeak-ng", "de+f3", pitch=60)
    assert voices["nova"] == STANDARD["nova"] == read_voices(None)["nova"]
    assert set(voices) == {*STANDARD, "our-own"}


def test_every_name_that_the_client_knows_has_a_voice_of_its_own() -> None:
    alternatives = get_args(get_type_hints(ChatCompletionAudioParam)["voice"])
    known = {
        name for each in alternatives if get_origin(each) is Literal for name in get_args(each)
    }
    # The client's own list has not all that the reference names.
    assert set(STANDARD) == known | {"fable", "nova", "onyx"}
    assert len(set(STANDARD.values())) == len(STANDARD)


@needs_espeak
@pytest.mark.parametrize("name", STANDARD)
def test_espeak_has_the_defaults(name: str) -> None:
    check_voice(STANDARD[name].voice)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a\n", "is no TOML"),
        ("a = 3", "has 'a' outside a voice"),
        ("['a b']\nengine = 'piper'", "names a voice 'a b'"),
        ("[a]\n", "has no engine in [a]; 'espeak-ng' and 'piper' are allowed"),
        ("[a]\nengine = 'festival'", "has engine = 'festival' in [a]"),
        ("[a]\nengine = 'espeak-ng'", "has no voice in [a]"),
        ("[a]\nengine = 'espeak-ng'\nvoice = '-w'", "has voice = '-w' in [a]"),
        ("[a]\nengine = 'espeak-ng'\nvoice = ''", "has voice = '' in [a]"),
        ("[a]\nengine = 'espeak-ng'\nvoice = 'en'\nmodel = 'x'", "engine, voice, speed, pitch"),
        ("[a]\nengine = 'espeak-ng'\nvoice = 'en'\nspeed = 3", "numbers from 0.5 to 2.5"),
        ("[a]\nengine = 'espeak-ng'\nvoice = 'en'\nspeed = nan", "numbers from 0.5 to 2.5"),
        ("[a]\nengine = 'espeak-ng'\nvoice = 'en'\nspeed = true", "numbers from 0.5 to 2.5"),
        ("[a]\nengine = 'espeak-ng'\nvoice = 'en'\npitch = 1.5", "whole numbers from 0 to 99"),
        ("[a]\nengine = 'piper'", "has no model in [a]"),
        ("[a]\nengine = 'piper'\nmodel = 'x'\npitch = 3", "has pitch = 3 in [a]; a voice of piper"),
        ("[a]\nengine = 'piper'\nmodel = 'x'\nspeaker = 1.5", "a number or a name is allowed"),
        ("[a]\nengine = 'piper'\nmodel = 'x'\nsteady = 1", "true and false are allowed"),
        ("[a]\nengine = 'piper'\nmodel = 'x'\nlanguage = 3", "has language = 3 in [a]"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "voices.toml"
    path.write_text(text)
    with pytest.raises(VoicesFileError) as refused:
        read_voices(path)
    assert str(refused.value).startswith(f"voices {path} ")
    assert wrong in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VoicesFileError, match="none cannot be read"):
        read_voices(tmp_path / "none")

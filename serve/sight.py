"""What the HTTP side has to know of a model that sees: how its prompts write pictures, and how
pictures become patches.

The one place that knows both the families' towers and the ways of their processors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.tokenizer import Tokenizer
from model.vision.config import AnyVisionConfig, Gemma3VisionConfig
from serve.media import extra
from serve.text.pictures import PictureForm, gemma3_form, qwen3_vl_form


@dataclass(frozen=True, slots=True)
class Sight:
    """How a model sees.

    Attributes:
        form: how its prompts write pictures.
        process: makes patches of a picture, as `serve.media.gather.Processor`.
    """

    form: PictureForm
    process: Callable[..., Any]


class SightError(ValueError):
    """A checkpoint that sees, but not in a way that can be followed; the message says why."""


def sight_of(vision: AnyVisionConfig | None, directory: Path, tokenizer: Tokenizer) -> Sight | None:
    """How a checkpoint sees; None for one that does not, or where the extra `media` is missing.

    Args:
        vision: the shape of its tower, if it has one.
        directory: of the checkpoint.
        tokenizer: its own.

    Raises:
        SightError: its tokenizer or its `preprocessor_config.json` cannot be followed.
    """
    if vision is None or extra.missing():
        return None
    # They need the extra.
    from serve.media.processors.gemma3 import Gemma3Processor
    from serve.media.processors.qwen3_vl import Qwen3VLProcessor
    from serve.media.processors.settings import ProcessorError, read_settings

    try:
        token = _spelling(tokenizer, vision.image_token)
        settings = read_settings(directory)
        if isinstance(vision, Gemma3VisionConfig):
            begin, end = (
                _spelling(tokenizer, each) for each in (vision.begin_token, vision.end_token)
            )
            tokens = vision.token_side**2
            gemma = Gemma3Processor.of(settings, patch=vision.patch_size, tokens=tokens)
            side = vision.patch_side * vision.patch_size
            _check_equal("image sides", (gemma.height, gemma.width), (side, side))
            return Sight(gemma3_form(token, begin, end), gemma)
        qwen = Qwen3VLProcessor.of(settings)
        _check_equal(
            "sides of patches, patches to a token and frames",
            (qwen.patch, qwen.merge, qwen.frames),
            (vision.patch_size, vision.merge, vision.frames),
        )
        return Sight(qwen3_vl_form(token), qwen)
    except ProcessorError as error:
        raise SightError(str(error)) from error


def _check_equal(what: str, asked: tuple[int, ...], built: tuple[int, ...]) -> None:
    if asked != built:
        raise SightError(
            f"preprocessor_config.json has {what} {asked}, and config.json {built}: they are of "
            f"different checkpoints"
        )


def _spelling(tokenizer: Tokenizer, token: int) -> str:
    for spelling, each in tokenizer.controls.items():
        if each == token:
            return spelling
    raise SightError(
        f"config.json says that images are written with the token {token}, which is no control "
        f"token of the tokenizer; give the tokenizer that belongs to the checkpoint"
    )

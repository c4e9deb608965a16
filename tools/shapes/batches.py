"""Conversations as the arrays of a training step, by the server's own renderer and processor."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.families.registry import read_config
from model.loading import load_tokenizer
from model.vision.inputs import NO_IMAGE, ordered_places
from model.vision.positions import turns
from serve.engine.prompt_images import PromptImage
from serve.media.patching import PatchedImage
from serve.media.picture import Picture
from serve.media.processors.qwen3_vl import Qwen3VLProcessor
from serve.media.processors.settings import read_settings
from serve.text.pictures import qwen3_vl_form
from serve.text.render import Renderer
from serve.text.template_files import load_chat_template
from tools.shapes.checkpoint import IMAGE, MAX_PIXELS, TURN_END, TURN_START
from tools.shapes.conversations import Conversation

LENGTH = 104


class Batch(NamedTuple):
    """A step's conversations and pictures.

    Attributes:
        tokens: [B, T] ids.
        targets: [B, T] what comes after each.
        answers: [B, T] number of the answer that a target belongs to, from 1 on; 0 for none.
        positions: [3, B, T] what each token is rotated by.
        seen: [B, T] which of the pictures' vectors stands for a token; -1 for none.
        patches: [I, P, X] of each picture.
        places: [I, 5, P] as `TowerInputs` has them.
    """

    tokens: np.ndarray
    targets: np.ndarray
    answers: np.ndarray
    positions: np.ndarray
    seen: np.ndarray
    patches: np.ndarray
    places: np.ndarray


class Reader:
    """Conversations as a checkpoint's own files have them read.

    Args:
        directory: the checkpoint, which need not have weights yet.
    """

    def __init__(self, directory: Path) -> None:
        tokenizer = load_tokenizer(directory, read_config(directory))
        template = load_chat_template(directory, tokenizer.named)
        self.renderer = Renderer(tokenizer, template, qwen3_vl_form(IMAGE))
        self.processor = Qwen3VLProcessor.of(read_settings(directory))
        header = [tokenizer.controls[TURN_START], *tokenizer.encode("assistant\n", at_start=False)]
        self._header, self._end = header, tokenizer.controls[TURN_END]

    def look(self, pixels: np.ndarray) -> PatchedImage:
        """The patches of a picture."""
        (image,) = self.processor(Picture(pixels), "auto")
        return image

    def prompt(
        self, item: Conversation, looked: Sequence[PatchedImage], asked: int | None = None
    ) -> tuple[list[int], list[PromptImage]]:
        """The ids of a conversation and where its pictures are; see `Conversation.messages`."""
        views = [(image.tokens,) for image in looked]
        ids = self.renderer.render(
            item.messages(asked), pictures=views, add_generation_prompt=asked is not None
        )
        starts = self.renderer.starts(ids, views)
        return ids, [
            PromptImage(start, each.tokens, each.patches, each.grid, each.digest)
            for start, each in zip(starts, looked, strict=True)
        ]

    def answers(self, ids: Sequence[int]) -> list[int]:
        """Of each id the number of the answer that it belongs to, with the end of its turn."""
        found, number, inside = [0] * len(ids), 0, False
        for at in range(len(self._header), len(ids)):
            if list(ids[at - len(self._header) : at]) == self._header:
                number, inside = number + 1, True
            found[at] = number if inside else 0
            inside = inside and ids[at] != self._end
        return found

    def batch(self, items: Sequence[Conversation], pictures: int) -> Batch:
        """Conversations which together have so many pictures.

        Raises:
            ValueError: one is too long.
        """
        patch, merge = self.processor.patch, self.processor.merge
        most = MAX_PIXELS // patch**2
        rows = (len(items), LENGTH)
        width = 3 * self.processor.frames * patch**2
        made = Batch(
            np.zeros(rows, np.int32),
            np.zeros(rows, np.int32),
            np.zeros(rows, np.int32),
            np.zeros((3, *rows), np.int32),
            np.full(rows, -1, np.int32),
            np.zeros((pictures, most, width), np.uint8),
            np.zeros((pictures, 5, most), np.int32),
        )
        made.places[:, 0] = NO_IMAGE
        number = 0
        for row, item in enumerate(items):
            ids, images = self.prompt(item, [self.look(each) for each in item.pictures])
            if len(ids) > LENGTH + 1:
                raise ValueError(f"a conversation has {len(ids)} tokens, and rows {LENGTH}")
            inside = len(ids) - 1
            made.tokens[row, :inside], made.targets[row, :inside] = ids[:-1], ids[1:]
            made.answers[row, :inside] = self.answers(ids)[1:]
            made.positions[:, row] = turns(images, merge, 0, LENGTH)
            for image in images:
                here = slice(image.start, image.start + image.tokens)
                first = number * most // merge**2
                made.seen[row, here] = np.arange(first, first + image.tokens)
                count = len(image.patches)
                made.patches[number, :count] = image.patches
                made.places[number, 0, :count] = 0
                made.places[number, 1:3, :count] = ordered_places(image.grid, merge)
                made.places[number, 3:, :count] = np.array(image.grid)[:, None]
                number += 1
        return made

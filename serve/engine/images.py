"""Which images' vectors the device has, and how prompts with images are cut into chunks.

Vectors lie in slots that any image may take, so that room is never in pieces. What is decided while
a step is planned may be overwritten by any step that is planned after it: the device runs them in
order. Knows images by their digests, among those who share prompts: how soon an answer comes tells
nobody else what was shown. Knows nothing of towers.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.vision.config import AnyVisionConfig
from model.vision.inputs import call_size, check_image
from serve.engine.config import EngineConfig
from serve.engine.prompt_images import PromptImage, image_across, images_within
from serve.engine.types import GenerationRequest


class Look(NamedTuple):
    """An image, and where its vectors are.

    Attributes:
        image: the image.
        slots: one for each of its tokens.
    """

    image: PromptImage
    slots: NDArray[np.int32]


class Images:
    """Vectors of images on the device, the longest unused first to go.

    Args:
        config: the engine's settings.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._room = config.image_vectors
        self._whole = config.whole_image > 0
        self._free = list(range(config.image_vectors))
        self._slots: OrderedDict[bytes, NDArray[np.int32]] = OrderedDict()
        # By chunks of the step that is planned.
        self._used: set[bytes] = set()
        self._looks: list[Look] = []

    def begin_step(self) -> None:
        """Another step is planned: what chunks of the last one needed may go."""
        self._used.clear()

    def take_looks(self) -> list[Look]:
        """The images that the tower must look at before the step that has been planned."""
        looks, self._looks = self._looks, []
        return looks

    def chunk_end(self, request: GenerationRequest, start: int, end: int) -> int:
        """Where a chunk ends that could go from `start` to `end`: depends on the prompt alone.

        Where tokens of an image see all of it, none is cut; an image that begins the chunk may
        have it end behind `end`. All of the chunk's images have room at the same time.
        """
        across = image_across(request.images, end) if self._whole else None
        if across is not None:
            end = across.start if across.start > start else across.start + across.tokens
        return self._reached(request, start, end, self._room, ())

    def fits(self, request: GenerationRequest, start: int, end: int) -> bool:
        """Whether `hold` finds room beside what other chunks of the step need."""
        if not request.images:
            return True
        kept = sum(len(self._slots[key]) for key in self._used)
        return self._reached(request, start, end, self._room - kept, self._used) == end

    def _reached(
        self,
        request: GenerationRequest,
        start: int,
        end: int,
        room: int,
        there: Collection[bytes],
    ) -> int:
        """How far a chunk comes with room for so many vectors beside those that are there."""
        counted = set(there)
        for image in images_within(request.images, start, end):
            key = request.cache_scope + image.digest
            if key not in counted:
                counted.add(key)
                room -= image.tokens
            if room < 0:
                return max(start, image.start)
        return end

    def hold(self, request: GenerationRequest, start: int, end: int) -> list[Look]:
        """The images of a chunk, whose vectors are there when the step runs. `fits` has said so."""
        return [
            self._held(request.cache_scope + image.digest, image)
            for image in images_within(request.images, start, end)
        ]

    def _held(self, key: bytes, image: PromptImage) -> Look:
        slots = self._slots.get(key)
        self._used.add(key)
        if slots is not None:
            self._slots.move_to_end(key)
            return Look(image, slots)
        unused = iter([other for other in self._slots if other not in self._used])
        while len(self._free) < image.tokens:
            self._free += self._slots.pop(next(unused)).tolist()
        taken = [self._free.pop() for _ in range(image.tokens)]
        look = Look(image, np.array(taken, np.int32))
        self._slots[key] = look.slots
        self._looks.append(look)
        return look


def check_images(
    images: Sequence[PromptImage],
    prompt: Sequence[int],
    vision: AnyVisionConfig | None,
    config: EngineConfig,
) -> None:
    """See that images are such as the model's tower takes, and stand where the prompt says.

    Raises:
        ValueError: they are not, or the model does not see.
    """
    if not images:
        return
    if vision is None:
        raise ValueError("images are given, and this model sees none")
    end = 0
    for number, image in enumerate(images):
        if image.start < end:
            raise ValueError(f"image {number} begins at {image.start}, within the one before it")
        end = image.start + image.tokens
        check_image(vision, image.patches, image.grid)
        call_size(vision, len(image.patches))
        if image.tokens != vision.tokens(len(image.patches)) or image.tokens > config.image_vectors:
            raise ValueError(
                f"image {number} has {image.tokens} tokens; the tower makes "
                f"{vision.tokens(len(image.patches))} vectors of it, and there is room for "
                f"{config.image_vectors}"
            )
        if list(prompt[image.start : end]) != [vision.image_token] * image.tokens:
            raise ValueError(
                f"the prompt has not token {vision.image_token} from {image.start} to {end}, where "
                f"image {number} stands"
            )

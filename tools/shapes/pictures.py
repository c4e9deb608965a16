"""Made-up pictures: one to three coloured shapes on grey. Knows nothing of questions."""

import math
import random
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

COLOURS = {
    "red": (215, 35, 35),
    "orange": (240, 135, 20),
    "yellow": (240, 215, 40),
    "green": (40, 155, 60),
    "blue": (40, 85, 220),
    "purple": (135, 50, 165),
}
FORMS = ("circle", "square", "triangle", "cross")
# Of a grid of three by three, in reading order.
PLACES = (
    "at the top left",
    "at the top",
    "at the top right",
    "at the left",
    "in the middle",
    "at the right",
    "at the bottom left",
    "at the bottom",
    "at the bottom right",
)
_SIDES = (96, 192)
# Drawn so many times larger, which makes edges smooth.
_FINE = 2


class Shape(NamedTuple):
    """A shape of a picture.

    Attributes:
        colour: one of `COLOURS`.
        form: one of `FORMS`.
        place: index in `PLACES`.
    """

    colour: str
    form: str
    place: int

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.colour} {self.form}"


Scene = tuple[Shape, ...]


def held_out(scene: Scene) -> bool:
    """Whether a scene is one of the tenth that is never trained on."""
    return sha256(repr(sorted(scene)).encode()).digest()[0] < 26


def scene(rng: random.Random, *, trained: bool) -> Scene:
    """Shapes in reading order, no two of them alike or at one place."""
    while True:
        names = [(colour, form) for colour in COLOURS for form in FORMS]
        count = rng.randint(1, 3)
        places = sorted(rng.sample(range(len(PLACES)), count))
        drawn = zip(rng.sample(names, count), places, strict=True)
        found = tuple(Shape(*name, place) for name, place in drawn)
        if held_out(found) != trained:
            return found


def draw(shapes: Scene, rng: random.Random) -> UInt8[np.ndarray, "height width 3"]:
    """A picture of them, of any size and shade, a little noisy."""
    width, height = (rng.randint(*_SIDES) for _ in range(2))
    ground = rng.choice((rng.randint(0, 60), rng.randint(170, 255)))
    image = Image.new("RGB", (width * _FINE, height * _FINE), (ground,) * 3)
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        _put(pen, shape, (image.width / 3, image.height / 3), rng)
    pixels = np.asarray(image.reduce(_FINE), np.int16)
    generator, most = np.random.default_rng(rng.getrandbits(64)), rng.randint(0, 16)
    noise = generator.integers(-most, most, pixels.shape, np.int8, endpoint=True)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _put(
    pen: ImageDraw.ImageDraw, shape: Shape, cell: tuple[float, float], rng: random.Random
) -> None:
    radius = min(cell) * rng.uniform(0.28, 0.46)
    row, column = divmod(shape.place, 3)
    x, y = (
        (place + 0.5) * side + rng.uniform(-1, 1) * (side / 2 - radius)
        for place, side in zip((column, row), cell, strict=True)
    )
    colour = tuple(min(255, max(0, each + rng.randint(-20, 20))) for each in COLOURS[shape.colour])
    if shape.form == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        return
    turn = math.radians(rng.uniform(-12, 12))
    corners = [
        (x + radius * far * math.sin(angle + turn), y - radius * far * math.cos(angle + turn))
        for far, angle in _corners(shape.form)
    ]
    pen.polygon(corners, fill=colour)


def _corners(form: str) -> list[tuple[float, float]]:
    """Of each corner how far it is from the centre, in radii, and its angle from above."""
    if form == "cross":
        arm, notch = math.hypot(1, 0.3), 0.3 * math.sqrt(2)
        wide = math.atan(0.3)
        return [
            corner
            for quarter in range(4)
            for corner in (
                (arm, quarter * math.pi / 2 - wide),
                (arm, quarter * math.pi / 2 + wide),
                (notch, (quarter + 0.5) * math.pi / 2),
            )
        ]
    count, first = {"triangle": (3, 0.0), "square": (4, math.pi / 4)}[form]
    return [(1.1, first + index * 2 * math.pi / count) for index in range(count)]

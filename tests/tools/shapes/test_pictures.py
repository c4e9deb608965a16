import random

import numpy as np
import pytest

from tools.shapes.pictures import COLOURS, FORMS, PLACES, Shape, draw, held_out, scene

ALL = [Shape(colour, form, place) for colour in COLOURS for form in FORMS for place in range(9)]


def near(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Where a picture has about this colour."""
    return (np.abs(pixels.astype(int) - COLOURS[colour]) < 45).all(axis=-1)


@pytest.mark.parametrize("shape", ALL[::5], ids=lambda shape: f"{shape.name} {shape.place}")
def test_a_shape_has_its_colour_and_its_place(shape: Shape) -> None:
    pixels = draw((shape,), random.Random(shape.name))
    height, width, _ = pixels.shape
    rows, columns = np.nonzero(near(pixels, shape.colour))
    row, column = divmod(shape.place, 3)
    assert rows.size > 100
    assert row == int(rows.mean() / height * 3)
    assert column == int(columns.mean() / width * 3)


def test_forms_fill_their_square_as_their_geometry_says() -> None:
    # Of the square around it: circle π/4, upright triangle 1/2, cross of arms 0.6 wide 0.84 - 0.4².
    shares: dict[str, float] = {}
    for form in FORMS:
        found = []
        for seed in range(30):
            seen = near(draw((Shape("blue", form, 4),), random.Random(seed)), "blue")
            rows, columns = np.nonzero(seen)
            found.append(seen.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))
        shares[form] = float(np.mean(found))
    assert shares == pytest.approx(
        {"circle": 0.78, "square": 0.82, "triangle": 0.5, "cross": 0.45}, abs=0.06
    )


def test_scenes_are_trained_on_or_held_out_a_tenth_of_them() -> None:
    rng = random.Random(0)
    assert not any(held_out(scene(rng, trained=True)) for _ in range(200))
    assert all(held_out(scene(rng, trained=False)) for _ in range(50))
    # 216 of them: three deviations are 13.
    assert sum(held_out((shape,)) for shape in ALL) == pytest.approx(22, abs=13)


def test_a_scene_is_in_reading_order_and_has_nothing_twice() -> None:
    rng = random.Random(0)
    for _ in range(200):
        shapes = scene(rng, trained=True)
        places = [shape.place for shape in shapes]
        assert places == sorted(set(places))
        assert len({shape.name for shape in shapes}) == len(shapes)
        assert max(places) < len(PLACES)


def test_a_picture_follows_from_its_seed() -> None:
    shapes = scene(random.Random(1), trained=True)
    one, same, other = (draw(shapes, random.Random(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape

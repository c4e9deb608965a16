"""Images as calls of few sizes."""

import re
from dataclasses import replace

import numpy as np
import pytest
from support.towers import GEMMA, QWEN

from model.vision.config import Gemma3VisionConfig, Qwen3VLVisionConfig
from model.vision.inputs import call_size, calls, ordered_places, tower_inputs

SHAPE = {
    "embed_dim": 32,
    "ffn_dim": 48,
    "num_heads": 4,
    "num_layers": 3,
    "out_dim": 32,
    "image_token": 3,
    "begin_token": 1,
    "end_token": 2,
}
# As published, but for the width.
GEMMA_3 = Gemma3VisionConfig(**SHAPE, patch_size=14)
QWEN_3_VL = Qwen3VLVisionConfig(**SHAPE, patch_size=16, deepstack_layers=(0, 2))
TINY = {GEMMA: replace(GEMMA_3, patch_size=2, patch_side=4, token_side=2), QWEN: QWEN_3_VL}


def test_patches_come_square_by_square():
    # 0 1 | 4 5
    # 2 3 | 6 7
    rows, columns = ordered_places((2, 4), 2)
    assert rows.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert columns.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]


def test_patches_of_a_family_without_squares_come_row_by_row():
    rows, columns = ordered_places((2, 3), 1)
    assert rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert columns.tolist() == [0, 1, 2, 0, 1, 2]


def test_inputs_say_where_each_patch_is():
    images = [(np.full((4, 1536), 7, np.uint8), (2, 2)), (np.full((8, 1536), 9, np.uint8), (4, 2))]
    patches, places = tower_inputs(QWEN_3_VL, images, 16)
    assert patches[:, 0].tolist() == [7] * 4 + [9] * 8 + [0] * 4
    image, row, column, rows, columns = places.tolist()
    assert image == [0] * 4 + [1] * 8 + [-1] * 4
    assert row[:12] == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3]
    assert column[:12] == [0, 1] * 6
    assert rows[:12] == [2] * 4 + [4] * 8
    assert columns[:12] == [2] * 12


@pytest.mark.parametrize(
    ("config", "patches", "size"),
    [
        (QWEN_3_VL, 4, 1024),
        (QWEN_3_VL, 1024, 1024),
        (QWEN_3_VL, 1028, 2048),
        (QWEN_3_VL, 16384, 16384),
        (GEMMA_3, 4096, 4096),
        (GEMMA_3, 3 * 4096, 4 * 4096),
    ],
)
def test_a_call_has_one_of_few_sizes(config, patches, size):
    assert call_size(config, patches) == size


def test_an_image_too_large_is_refused():
    with pytest.raises(ValueError, match="16388 patches do not fit in a call"):
        call_size(QWEN_3_VL, 16388)


def test_small_images_share_a_call_and_large_ones_have_one_alone():
    assert calls(QWEN_3_VL, [1000, 1000, 2096, 4, 5000, 100, 4096]) == [
        [0, 1, 2],
        [3],
        [4],
        [5],
        [6],
    ]
    assert calls(GEMMA_3, [4096] * 6) == [[0, 1, 2, 3], [4, 5]]
    assert calls(GEMMA_3, []) == []


def test_vectors_that_patches_become():
    assert GEMMA_3.tokens(4096) == 256
    assert QWEN_3_VL.tokens(4096) == 1024
    assert (GEMMA_3.patch_values, QWEN_3_VL.patch_values) == (588, 1536)


@pytest.mark.parametrize(
    ("family", "shape", "grid", "says"),
    [
        (QWEN, (4, 1535), (2, 2), "uint8 (4, 1536)"),
        (QWEN, (8, 1536), (2, 2), "uint8 (4, 1536)"),
        (QWEN, (6, 1536), (2, 3), "squares of 2 patches"),
        (QWEN, (0, 1536), (0, 2), "squares of 2 patches"),
        (GEMMA, (16, 12), (2, 8), "it must be 4 by as many"),
    ],
)
def test_patches_of_no_image_are_refused(family, shape, grid, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        tower_inputs(TINY[family], [(np.zeros(shape, np.uint8), grid)], 64)


def test_patches_that_are_numbers_already_are_refused():
    with pytest.raises(ValueError, match="float32"):
        tower_inputs(QWEN_3_VL, [(np.zeros((4, 1536), np.float32), (2, 2))], 64)


def test_more_than_a_call_takes_is_refused():
    image = (np.zeros((4, 1536), np.uint8), (2, 2))
    with pytest.raises(ValueError, match="do not fit in a call of 4"):
        tower_inputs(QWEN_3_VL, [image, image], 4)

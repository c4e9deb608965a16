"""Codes, scales and zero points on matrices small enough to be worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from model.weights.quantized.matrices import dequantized, grid_shape, scale_shapes, unpacked

# 0x76543210 has the codes 0 to 7, lowest first, and 0xE4 = 11 10 01 00 those of two bits.
WORD = np.array([[0x76543210]], np.int32)


@pytest.mark.parametrize(
    ("bits", "codes"),
    [
        (4, [0, 1, 2, 3, 4, 5, 6, 7]),
        (8, [0x10, 0x32, 0x54, 0x76]),
        (2, [0, 0, 1, 0, 2, 0, 3, 0, 0, 1, 1, 1, 2, 1, 3, 1]),
    ],
)
def test_codes_lie_lowest_first(bits, codes):
    np.testing.assert_array_equal(unpacked(WORD, bits), [codes])


def test_the_highest_bit_is_a_code_like_others():
    np.testing.assert_array_equal(
        unpacked(np.array([[-1], [0]], np.int32), 8), [[255] * 4, [0] * 4]
    )


def test_blocks_may_end_with_the_matrix():
    codes = np.ones((3, 5), np.int8)
    scales = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    # Two rows and two columns to a block: a row and a column are left.
    assert grid_shape((3, 5), (2, 2)) == (2, 3)
    np.testing.assert_array_equal(
        dequantized(codes, scales, None, (2, 2)),
        [[1, 1, 2, 2, 3], [1, 1, 2, 2, 3], [4, 4, 5, 5, 6]],
    )


def test_a_block_may_be_larger_than_the_matrix():
    found = dequantized(np.full((2, 3), 4, np.int8), np.array([[0.5]]), None, (128, 128))
    np.testing.assert_array_equal(found, np.full((2, 3), 2))


def test_zero_points_come_off_before_the_scale():
    codes = np.array([[8, 9, 10, 11]], np.uint8)
    found = dequantized(codes, np.array([[2, 3]]), np.array([[8, 12]], np.uint8), (1, 2))
    np.testing.assert_array_equal(found, [[0, 2, -6, -3]])
    np.testing.assert_array_equal(dequantized(codes, np.array([[2]]), 8.0, (1, 4)), [[0, 2, 4, 6]])


@pytest.mark.parametrize("rows", [1, 300])
def test_columns_in_an_order_of_their_own(rows):
    codes = np.full((rows, 4), 5, np.int8)
    scales = np.arange(1, 2 * rows + 1, dtype=np.float32).reshape(rows, 2)
    order = np.array([1, 0, 0, 1])
    found = dequantized(codes, scales, np.full((rows, 2), 4, np.int8), (1, 2), order)
    np.testing.assert_array_equal(found, scales[:, order])


def test_a_product_is_rounded_once():
    """1.1 in float32, and not in float16 or in float64, times 3."""
    scale = np.array([[1.1]], np.float32)
    found = dequantized(np.array([[3]], np.int8), scale, None, (1, 1))
    assert found.dtype == np.float32
    assert found[0, 0] == np.float32(3) * np.float32(1.1)


def test_floats_of_eight_bits():
    codes = np.array([[0x38, 0xB8, 0x7E, 0x01, 0x80]], np.uint8).view(jnp.float8_e4m3fn)
    found = dequantized(codes, np.array([[1]]), None, (1, 5))
    np.testing.assert_array_equal(found, [[1, -1, 448, 2**-9, 0]])


def test_shapes_of_scales():
    assert scale_shapes((6, 8), (6, 8)) == ((1,), (), (1, 1))
    assert scale_shapes((6, 8), (1, 8)) == ((6, 1), (6,))
    assert scale_shapes((6, 8), (1, 4)) == ((6, 2),)
    assert scale_shapes((6, 8), (4, 3)) == ((2, 3),)

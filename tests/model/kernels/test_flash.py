"""The TPU's kernel for patches of images, interpreted on CPU, against plain JAX."""

import jax.numpy as jnp
import numpy as np
import pytest
from support.interpreted import interpret_attention
from support.towers import patches_of_images

from model.kernels import flash
from model.vision import attention


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)])
def test_the_kernel_agrees_with_plain_jax(dtype, tolerance, monkeypatch):
    interpret_attention(monkeypatch)
    monkeypatch.setattr(flash, "BLOCK", 128)
    q, k, v, image = patches_of_images(dtype)
    found = np.asarray(flash.attend_by_flash(q, k, v, image), np.float32)
    wanted = np.asarray(attention.attend_within_images(q, k, v, image), np.float32)
    np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=0)
    apart = attention.attend_within_images(q, k, v, jnp.zeros_like(image))
    assert np.abs(found - np.asarray(apart, np.float32)).max() > 0.3


def test_what_it_takes():
    assert flash.takes(jnp.zeros((1, 1024, 2, 24), jnp.bfloat16))
    assert not flash.takes(jnp.zeros((1, 1024, 2, 24), jnp.float32))
    assert not flash.takes(jnp.zeros((1, 144, 2, 24), jnp.bfloat16))

"""What needs a CUDA device: `JAX_PLATFORMS=cuda python -m pytest -m gpu`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny import tiny_parameters

from model import steps
from model.cache import PageLayout, empty_cache
from model.config import LayerConfig, ModelConfig
from model.kernels.paged_gpu import trial
from model.rope import plain_rope

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no CUDA device"),
]
WIDTHS = (16, 64, 128, 256)
PAGE, PAGES, TABLE, ROWS, PROMPT, TOKENS, DECODED = 16, 64, 16, 4, 100, 128, 12


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("group", [1, 4, 20])
def test_the_kernel_agrees_with_the_plain_backend(width, group):
    assert trial(2, group, width, jnp.dtype("bfloat16")) == ""


def logits(layout: PageLayout) -> np.ndarray:
    """After prompts of different lengths beside answers, and after decoding all together."""
    layer = LayerConfig(plain_rope(10_000.0, 64))
    config = ModelConfig(
        vocab_size=128,
        embed_dim=256,
        num_heads=8,
        num_kv_heads=2,
        head_dim=64,
        ffn_dim=512,
        context_length=TABLE * PAGE,
        layers=(layer, LayerConfig(layer.rope, window=30)),
        norm_eps=1e-6,
    )
    parameters = {
        name: value.astype(jnp.bfloat16) for name, value in tiny_parameters(config).items()
    }
    cache = empty_cache(
        config,
        pages=PAGES,
        page_size=PAGE,
        rows=ROWS,
        table_width=TABLE,
        dtype=jnp.dtype("bfloat16"),
        layout=layout,
    )
    random = np.random.default_rng(0)
    tables = random.permutation(PAGES).astype(np.int32).reshape(ROWS, TABLE)
    forward = jax.jit(partial(steps.forward, config), donate_argnums=1)
    lengths = [PROMPT - 20 * row for row in range(ROWS)]
    ids = [random.integers(0, 128, length).tolist() for length in lengths]
    found: list[jax.Array] = []
    for step in range(DECODED):
        # Each row reads its prompt in the step of its number, beside those that decode by then.
        parts = [
            steps.RowTokens(row, 0, ids[row], tables[row])
            if step == row
            else steps.RowTokens(row, lengths[row] + step - row - 1, (steps.LAST,), tables[row])
            for row in range(min(step + 1, ROWS))
        ]
        inputs, firsts = steps.step_inputs(parts, TOKENS if step < ROWS else ROWS, ROWS, PAGE)
        ends = [first + len(part.tokens) - 1 for first, part in zip(firsts, parts, strict=True)]
        picks = np.array(ends + [0] * (ROWS - len(ends)), np.int32)
        last = jnp.arange(ROWS, dtype=jnp.int32) + step
        hidden, _, cache = forward(parameters, cache, last, inputs, picks)
        found.append(steps.logits(config, parameters, hidden[: len(ends)]))
    return np.concatenate([np.asarray(each, np.float32) for each in found])


def test_steps_give_the_same_logits_by_the_kernel():
    plain = logits("by_head")
    assert np.abs(plain).max() > 0.5
    np.testing.assert_allclose(logits("by_head_on_gpu"), plain, atol=0.1, rtol=0)

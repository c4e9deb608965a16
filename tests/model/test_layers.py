import jax
import jax.numpy as jnp
import numpy as np

from model.layers import looked_up


def test_what_is_looked_up_has_the_gradient_of_its_rows():
    table = jnp.arange(12.0).reshape(4, 3)
    tokens = jnp.asarray([[1, 3], [1, 0]])
    wanted = jnp.asarray([[[1.0, 0, 0], [0, 2, 0]], [[0, 0, 4], [8, 8, 8]]])
    vectors, backward = jax.vjp(lambda table: looked_up(table, tokens), table)
    np.testing.assert_array_equal(vectors, np.asarray(table)[np.asarray(tokens)])
    (gradient,) = backward(wanted)
    np.testing.assert_array_equal(gradient, [[8, 8, 8], [1, 0, 4], [0, 0, 0], [0, 2, 0]])

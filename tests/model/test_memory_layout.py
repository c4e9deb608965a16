"""Parameters in the order that a device wants: where it is decided, and that steps take them so."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.layout import Format, Layout
from support.tiny import TINY, tiny_model

from model import memory_layout
from model.config import LayerConfig
from model.loading import load_model
from model.memory_layout import parameter_places
from model.mesh import make_mesh, sharding
from model.parameters import parameter_specs
from model.steps import RowTokens, step_inputs
from serve.config import bundled_model
from serve.engine.config import EngineConfig
from serve.engine.runner import Runner

FLOAT32 = jnp.dtype("float32")
GATE_UP = "blocks.1.mlp.gate_up"


def reordered(value: jax.Array) -> jax.Array:
    return jax.device_put(value, Format(Layout((1, 2, 0)), value.sharding))


def test_on_a_cpu_the_order_of_the_axes_stays():
    mesh = make_mesh()
    places = parameter_places(TINY, FLOAT32, mesh)
    specs = parameter_specs(TINY)
    assert places == {name: sharding(mesh, spec.axes) for name, spec in specs.items()}


def test_layers_of_a_kind_are_alike(monkeypatch: pytest.MonkeyPatch):
    plain = TINY.layers[0]
    windowed = LayerConfig(plain.rope, window=16)
    config = replace(TINY, layers=(windowed, windowed, plain, windowed))
    asked, names = [], []

    def wished(short, dtype, mesh, page_dtype):
        asked.append(short.layers)
        names.extend(parameter_specs(short))
        where = sharding(mesh, ())
        return {name: Format(Layout((index,)), where) for index, name in enumerate(names)}

    monkeypatch.setattr(memory_layout, "_PLATFORMS", ("cpu",))
    monkeypatch.setattr(memory_layout, "_orders_wished", wished)
    places: Any = parameter_places(config, FLOAT32, make_mesh())
    assert asked == [(windowed, plain)]

    def found_for(name: str) -> str:
        return names[places[name].layout.major_to_minor[0]]

    found = [found_for(f"blocks.{index}.mlp.down") for index in range(4)]
    assert found == [f"blocks.{index}.mlp.down" for index in (0, 0, 1, 0)]
    assert found_for("head.weight") == "head.weight"


def test_weights_are_loaded_in_the_order_that_is_wished(monkeypatch: pytest.MonkeyPatch):
    name = "blocks.0.mlp.gate_up"

    def places(config, dtype, mesh, page_dtype):
        chosen = dict(parameter_places(config, dtype, mesh, page_dtype))
        chosen[name] = Format(Layout((1, 2, 0)), chosen[name])
        return chosen

    plain = load_model(bundled_model(), make_mesh())
    monkeypatch.setattr("model.loading.parameter_places", places)
    model = load_model(bundled_model(), make_mesh())
    assert model.parameters[name].format.layout.major_to_minor == (1, 2, 0)
    np.testing.assert_array_equal(model.parameters[name], plain.parameters[name])


def test_a_step_takes_parameters_as_they_lie():
    engine = EngineConfig(context_length=64, cache_tokens=128, max_rows=1)
    inputs, _ = step_inputs([RowTokens(0, 0, [3], [0])], 1, 1, engine.page_size)
    hidden = []
    for change in (lambda value: value, reordered):
        model = tiny_model()
        model.parameters[GATE_UP] = change(model.parameters[GATE_UP])
        runner = Runner(model, engine)
        step = runner._jobs()["forward", 1].make()
        last, picks = runner._rows.last_token, np.zeros(1, np.int32)
        picked, _, _ = step(model.parameters, runner._cache, last, inputs, picks)
        hidden.append(np.asarray(picked))
    assert np.abs(hidden[0]).max() > 0.1
    np.testing.assert_allclose(hidden[1], hidden[0], atol=1e-5)

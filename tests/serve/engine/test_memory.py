"""What an engine needs against what there is, by numbers that can be checked by hand."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import pytest
from support.tiny import tiny_model

from model import bundled
from model.loading import OpenedModel
from serve.engine import loading, memory
from serve.engine.config import EngineConfig, EngineConfigError
from serve.engine.host_memory import HostMemory
from serve.engine.loading import load_engine
from serve.engine.memory import (
    LOWER_CACHE,
    LOWER_CHUNK,
    LOWER_PAGE,
    LOWER_ROWS,
    SMALLER_WEIGHTS,
    Capacity,
    Need,
    bytes_of,
    capacity,
    check_fits,
    needs_of,
    refused_if_exhausted,
    warn_if_not_free,
    working_bytes,
)
from serve.engine.runner import Job, Runner
from serve.offline import LocalModel

GIB = 2**30
LIMITED = Capacity(4 * GIB, 3 * GIB, "this host lets it have")


@dataclass
class Device:
    stats: dict[str, int] | None

    def memory_stats(self) -> dict[str, int] | None:
        return self.stats


@dataclass
class Devices:
    """A mesh of devices on paper."""

    local_devices: list[Device] = field(default_factory=list)


def config(**fields: int) -> EngineConfig:
    sizes = {"context_length": 64, "cache_tokens": 256, "max_rows": 8, "end_ids": 4}
    return EngineConfig(**(sizes | fields))


def test_what_an_engine_keeps() -> None:
    model = tiny_model()
    weights, cache, rows = needs_of(model, config())
    assert weights.bytes == bytes_of(model.parameters)
    # 2 layers, keys and values of 2 heads of 8 float32 each.
    assert cache.bytes == 256 * 2 * 2 * 2 * 8 * 4
    # 8 tables of 128 ÷ 16 pages; 8 rows of 67 counts and 3 words each of a mask and a prompt, a
    # last token, 1,024 ids and 1,024 values of a bias, 4 end ids and 32 stop ids with a position
    # each, a key of 2, and 8 numbers and a flag of settings.
    assert rows.bytes == 8 * 4 * (8 + 67 + 6 + 1 + 2048 + 72 + 2 + 8) + 8
    runner = Runner(model, config())
    held = (model.parameters, runner._cache, runner._rows)
    assert bytes_of(held) == weights.bytes + cache.bytes + rows.bytes


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({}, LOWER_CACHE),
        ({"cache_tokens": 64}, "lower context (--context)"),
        ({"cache_tokens": 64, "page_size": 128}, LOWER_PAGE),
    ],
)
def test_which_setting_makes_the_cache_smaller(fields: dict[str, int], remedy: str) -> None:
    assert needs_of(tiny_model(), config(**fields))[1].remedy == remedy


@pytest.mark.parametrize("largest", range(3))
def test_the_largest_need_is_named(largest: int) -> None:
    names = ("the model in float32", "a cache of 256 tokens", "what 8 rows of 64 tokens keep")
    remedies = (SMALLER_WEIGHTS, LOWER_CACHE, LOWER_ROWS)
    needs = [Need(*each) for each in zip(names, (GIB,) * 3, remedies, strict=True)]
    check_fits(needs, LIMITED)
    needs[largest] = Need(names[largest], 3 * GIB, remedies[largest])
    with pytest.raises(EngineConfigError) as refusal:
        check_fits(needs, LIMITED)
    assert str(refusal.value) == (
        f"{names[largest]} takes 3.00 GiB, with all else 5.00 GiB, and this host lets it "
        f"have 4.00 GiB; {remedies[largest]}"
    )


def test_what_others_hold_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    warn_if_not_free([Need("a cache of 9 tokens", 3 * GIB, LOWER_CACHE)], LIMITED)
    assert not caplog.records
    warn_if_not_free([Need("a cache of 9 tokens", 4 * GIB, LOWER_CACHE)], LIMITED)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "a cache of 9 tokens takes 4.00 GiB, with all else 4.00 GiB, and only 3.00 GiB of what "
        "this host lets it have are free now; if the system ends this process, lower cache_tokens "
        "(--cache-tokens)"
    )


def test_the_memory_of_accelerators_is_their_own() -> None:
    mesh: Any = Devices([Device({"bytes_limit": 3 * GIB}), Device({"bytes_limit": 2 * GIB})])
    assert capacity(mesh) == Capacity(2 * GIB, 2 * GIB, "each device has")


@pytest.mark.parametrize(("devices", "whose"), [(1, "it"), (2, "each of 2 devices")])
def test_cpu_devices_share_the_host(
    monkeypatch: pytest.MonkeyPatch, devices: int, whose: str
) -> None:
    monkeypatch.setattr(memory, "host_memory", lambda: HostMemory(6 * GIB, 8 * GIB, 4 * GIB))
    mesh: Any = Devices([Device(None)] * devices)
    assert capacity(mesh) == Capacity(
        8 * GIB // devices, 4 * GIB // devices, f"this host lets {whose} have"
    )


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate"), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no\nx")],
)
def test_an_allocation_that_fails_is_a_setting(error: Exception) -> None:
    reason = str(error).partition("\n")[0]
    with pytest.raises(EngineConfigError) as refusal, refused_if_exhausted("a cat", "feed it less"):
        raise error
    assert str(refusal.value) == f"there is not enough memory for a cat ({reason}); feed it less"


def test_other_errors_are_left_alone() -> None:
    error = jax.errors.JaxRuntimeError("INTERNAL: a bug")
    with pytest.raises(type(error), match="a bug"), refused_if_exhausted("a cat", "feed it less"):
        raise error


def exhausted(*_: object, **__: object) -> NoReturn:
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.")


@pytest.mark.parametrize(
    ("name", "said"),
    [("empty_cache", "a cache of 256 tokens"), ("empty_rows", "what 8 rows keep")],
)
def test_the_device_refuses_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setattr(f"serve.engine.runner.{name}", exhausted)
    with pytest.raises(EngineConfigError, match=f"not enough memory for {said} .*7 bytes"):
        Runner(tiny_model(), config())


def test_the_compiler_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(tiny_model(), config())
    monkeypatch.setattr(runner, "_jobs", lambda: {("forward", 64): Job("", exhausted)})
    with pytest.raises(EngineConfigError, match=r"for a step of 64 tokens .*; lower prefill"):
        runner.compile(lambda *_: None)


@pytest.mark.parametrize(
    ("program", "said", "remedy"),
    [
        (("forward", 64), "a step of 64 tokens takes", LOWER_CHUNK),
        (("draw", 8), "sampling for 8 rows (draw) takes", LOWER_ROWS),
        (("logprobs", 8), "sampling for 8 rows (logprobs) takes", LOWER_ROWS),
        (("copy", 8), "copying 8 pages takes", LOWER_PAGE),
    ],
)
def test_a_program_that_could_never_run_is_refused_once_it_is_compiled(
    program: tuple[str, int], said: str, remedy: str
) -> None:
    def compiled(size: int) -> Job:
        stats = SimpleNamespace(
            temp_size_in_bytes=size, output_size_in_bytes=9, alias_size_in_bytes=9
        )
        return Job("", lambda: SimpleNamespace(memory_analysis=lambda: stats))

    runner = Runner(tiny_model(), config())
    runner._jobs = lambda: {("load", 8): compiled(1), program: compiled(2**60)}
    with pytest.raises(EngineConfigError) as refusal:
        runner.compile(lambda *_: None)
    assert str(refusal.value).startswith(said)
    assert str(refusal.value).endswith(remedy)


def test_what_a_program_takes() -> None:
    """Its result, where that does not take an argument's place."""
    numbers = jnp.zeros(1024, jnp.float32)
    add = lambda x: x + 1  # noqa: E731
    assert working_bytes(jax.jit(add).lower(numbers).compile()) == 4096
    assert working_bytes(jax.jit(add, donate_argnums=0).lower(numbers).compile()) == 0
    assert working_bytes(SimpleNamespace(memory_analysis=lambda: None)) == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cache_tokens": 10**9}, "a cache of 1000000000 tokens takes .*lower cache_tokens"),
        ({"cache_tokens": 10**13}, "cache of 10000000000000 tokens .* can address"),
        ({"page_size": 2**30, "prefill_chunk": 2**30}, "1073741824 tokens .*lower page_size"),
        ({"rows": 10**8}, "what 100000000 rows of 2048 tokens keep takes .*lower rows"),
        (
            {"rows": 1, "context": 64, "host_cache_bytes": 2**50},
            r"a host cache takes 1048576.00 GiB, and this host has .*lower host_cache_bytes",
        ),
    ],
)
def test_nothing_is_read_for_what_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], said: str
) -> None:
    monkeypatch.setattr(OpenedModel, "load", lambda self: pytest.fail("the weights were read"))
    with pytest.raises(EngineConfigError, match=said):
        load_engine(bundled.directory(), **settings)


def test_a_model_that_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "capacity", lambda mesh: Capacity(2**24, 2**24, "each device has"))
    with pytest.raises(
        EngineConfigError, match=r"the model in float32 takes .* GiB; take bfloat16"
    ):
        load_engine(bundled.directory(), rows=1, context=64)


def test_a_script_is_told_in_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(EngineConfigError, match="lower cache_tokens"):
        LocalModel.load(cache_tokens=10**9, compile_cache=None)


def test_the_default_cache_is_bounded_by_the_limit_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Too little for 256 tokens of each of 64 rows.
    small = GIB // 4
    host = HostMemory(physical=small, total=small, available=small)
    monkeypatch.setattr(loading, "host_memory", lambda: host)
    loaded = load_engine(bundled.directory())
    each = loading._cached_bytes(loaded.runner._model)
    # An eighth of the memory, in whole pages.
    assert loaded.runner._config.num_pages == -(-(small // 8 // each) // 16)

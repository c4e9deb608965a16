import asyncio
import importlib
import inspect
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.experimental.layout import Format, Layout
from jax.sharding import NamedSharding, PartitionSpec
from support.engines import CONTEXT, bridged, events_of, request
from support.tiny import TINY, tiny_model

from model.backends import backend_on
from model.mesh import make_mesh, replicated
from serve.engine import executables
from serve.engine.compile_cache import KeptPrograms, keep_programs
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.executables import Executables, facts_of
from serve.engine.programs import ProgramSpec
from serve.engine.runner import Runner
from serve.engine.types import EngineInfo, TokenEvent

internals = importlib.import_module("jax._src.compilation_cache")

MESH = make_mesh(1, 1)
WHOLE = replicated(MESH)
CONFIG = EngineConfig(CONTEXT, 512, max_rows=2, page_size=4, prefill_chunk=16, end_ids=20)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """JAX's settings and functions of before hold again afterwards."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    for name in ("get_executable_and_time", "put_executable_and_time"):
        setattr(internals, name, inspect.unwrap(getattr(internals, name)))
    reset_cache()


def array(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=WHOLE)


def sorted_and_more(numbers: jax.Array) -> jax.Array:
    """With a comparison, which XLA keeps as a function of its own."""
    return jnp.sort(jnp.tanh(numbers)) + 1


SPEC = ProgramSpec(sorted_and_more, MESH, (0,), WHOLE, (array(4),))
NUMBERS = np.array([3.0, 1.0, 2.0, 0.0], np.float32)
EXPECTED = np.sort(np.tanh(NUMBERS)) + 1


def facts() -> str:
    return facts_of(TINY, CONFIG, backend_on(MESH, TINY, jnp.dtype("float32")), MESH)


def opened(directory: Path, said: str = "facts") -> Executables:
    return Executables(keep_programs(directory), said, MESH)


def files(directory: Path) -> list[Path]:
    return sorted((directory / "programs").iterdir())


def check(program: Callable[..., Any]) -> None:
    numbers = jax.device_put(NUMBERS, WHOLE)
    np.testing.assert_allclose(program(numbers), EXPECTED, rtol=1e-6)
    assert numbers.is_deleted()
    with pytest.raises(TypeError):
        program(jax.device_put(NUMBERS[:2], WHOLE))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file of one program, kept in `tmp_path`."""
    check(opened(tmp_path).program("step", 4, SPEC))
    (path,) = files(tmp_path)
    return path


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[ProgramSpec]:
    """Each program that is traced."""
    seen: list[ProgramSpec] = []
    original = ProgramSpec.compile

    def counted(spec: ProgramSpec) -> Callable[..., Any]:
        seen.append(spec)
        return original(spec)

    monkeypatch.setattr(ProgramSpec, "compile", counted)
    return seen


def test_a_kept_program_is_not_traced_again(
    tmp_path: Path, kept: Path, traced: list[ProgramSpec]
) -> None:
    before = kept.read_bytes()
    os.utime(kept, (0, 0))
    again = opened(tmp_path)
    assert again.has("step", 4, SPEC)
    check(again.program("step", 4, SPEC))
    again.tell()
    assert not traced
    assert files(tmp_path) == [kept]
    assert kept.read_bytes() == before
    # It counts as used.
    assert kept.stat().st_mtime > 0


def test_a_loaded_program_tells_what_memory_it_takes(tmp_path: Path) -> None:
    taken = [opened(tmp_path).program("step", 4, SPEC) for _ in range(2)]
    compiled, loaded = (program.memory_analysis() for program in taken)
    for name in ("argument", "output", "alias", "temp"):
        size = f"{name}_size_in_bytes"
        assert getattr(loaded, size) == getattr(compiled, size)
    assert loaded.alias_size_in_bytes == 16


def test_orders_and_shardings_survive(tmp_path: Path) -> None:
    place = Format(Layout((1, 0)), NamedSharding(MESH, PartitionSpec(None, "model")))
    arguments = (jax.ShapeDtypeStruct((4, 2), jnp.float32, sharding=place),)
    out = NamedSharding(MESH, PartitionSpec("data"))
    spec = ProgramSpec(jnp.transpose, MESH, (), out, arguments)
    taken = [opened(tmp_path).program("turn", 4, spec) for _ in range(2)]
    assert len(files(tmp_path)) == 1
    for program in taken:
        assert program.input_formats[0][0].layout.major_to_minor == (1, 0)
        assert program.output_shardings == out


def test_what_jax_has_kept_has_no_part_in_it(tmp_path: Path) -> None:
    """What it has read from a file cannot be kept again: it may load, and fail when it runs."""
    keep_programs(tmp_path)
    SPEC.compile()
    reset_cache()
    jax.clear_caches()
    of_jax = sorted(path.name for path in tmp_path.iterdir())
    assert of_jax
    check(opened(tmp_path).program("step", 4, SPEC))
    check(opened(tmp_path).program("step", 4, SPEC))
    assert sorted(path.name for path in tmp_path.iterdir()) == [*of_jax, "programs"]


def test_where_jax_is_left_alone_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(internals, "get_executable_and_time")
    check(opened(tmp_path).program("step", 4, SPEC))
    assert not (tmp_path / "programs").exists()


# --- what decides over a program ---------------------------------------------------------


CHANGES = {
    "name": ("other", 4, SPEC),
    "size": ("step", 8, SPEC),
    "shape": ("step", 4, replace(SPEC, arguments=(array(8),))),
    "dtype": ("step", 4, replace(SPEC, arguments=(array(4).update(dtype=jnp.int32),))),
    "donation": ("step", 4, replace(SPEC, donate=())),
    "one more": ("step", 4, replace(SPEC, arguments=(array(4), array(4)))),
    "another tree": ("step", 4, replace(SPEC, arguments=({"numbers": array(4)},))),
    "sharding": (
        "step",
        4,
        replace(
            SPEC,
            arguments=(array(4).update(sharding=NamedSharding(MESH, PartitionSpec("model"))),),
        ),
    ),
    "order": (
        "step",
        4,
        replace(SPEC, arguments=(array(4).update(sharding=Format(Layout((0,)), WHOLE)),)),
    ),
    "results' sharding": (
        "step",
        4,
        replace(SPEC, out=NamedSharding(MESH, PartitionSpec("data"))),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_program_has_another_file(tmp_path: Path, kept: Path, change: str) -> None:
    programs = opened(tmp_path)
    assert not programs.has(*CHANGES[change])
    assert programs.has("step", 4, SPEC)
    assert kept.exists()


def test_other_facts_have_another_file(tmp_path: Path, kept: Path) -> None:
    assert not opened(tmp_path, "other facts").has("step", 4, SPEC)


def _patched(name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(name, value)


FACTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "code": _patched("serve.engine.executables._code_digest", lambda: "another"),
    "versions": _patched("serve.engine.executables.versions", lambda: {"jax": "another"}),
    "python": _patched("sys.version", "another"),
    "processor": _patched("serve.engine.executables._processor", lambda: ["another"]),
    "cores": _patched("serve.engine.executables.usable_cores", lambda: 77),
    "process": _patched("jax.process_index", lambda: 1),
    "processes": _patched("jax.process_count", lambda: 2),
    "XLA's flags": lambda patch: patch.setenv("XLA_FLAGS", "--another"),
    "libtpu's": lambda patch: patch.setenv("LIBTPU_INIT_ARGS", "--another"),
    "TF32": lambda patch: patch.setenv("NVIDIA_TF32_OVERRIDE", "0"),
}


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_counts(monkeypatch: pytest.MonkeyPatch, fact: str) -> None:
    before = facts()
    FACTS[fact](monkeypatch)
    assert facts() != before


SETTINGS = {
    "jax_default_matmul_precision": "bfloat16",
    "jax_optimization_level": "O1",
    "jax_threefry_partitionable": False,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_jax_count(name: str) -> None:
    before, value = facts(), jax.config.values[name]
    jax.config.update(name, SETTINGS[name])
    try:
        assert facts() != before
    finally:
        jax.config.update(name, value)
    assert facts() == before


def test_model_engine_backend_and_devices_count() -> None:
    backend = backend_on(MESH, TINY, jnp.dtype("float32"))
    others = [
        facts_of(replace(TINY, norm_eps=1e-3), CONFIG, backend, MESH),
        facts_of(TINY, replace(CONFIG, page_size=8), backend, MESH),
        facts_of(TINY, CONFIG, backend._replace(name="another"), MESH),
        facts_of(TINY, CONFIG, backend, jax.sharding.Mesh(MESH.devices, ("data", "others"))),
    ]
    assert len({facts(), *others}) == 5


def test_what_only_the_host_reads_does_not_count(tmp_path: Path) -> None:
    backend = backend_on(MESH, TINY, jnp.dtype("float32"))
    before = facts()
    keep_programs(tmp_path)
    others = replace(CONFIG, queue_limit=3, flex_patience=3, check_integrity=True)
    assert facts_of(TINY, others, backend, MESH) == before


@pytest.mark.parametrize("package", ["model", "sampling", "serve.engine"])
def test_our_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    (tmp_path / "inner").mkdir()
    code = tmp_path / "inner" / "code.py"
    monkeypatch.setattr(sys.modules[package], "__path__", [str(tmp_path)])
    digests = set()
    for text in ("", "x = 1\n", "x = 2\n"):
        code.write_text(text)
        digests.add(executables._code_digest.__wrapped__())
    code.rename(tmp_path / "code.py")
    digests.add(executables._code_digest.__wrapped__())
    assert len(digests) == 4


def test_the_processor_is_known_by_what_it_can() -> None:
    said = "\n".join(executables._processor())
    if sys.platform == "linux":
        assert "flags" in said or "Features" in said
    # Its clock is no part of it: that changes from one moment to the next.
    assert "MHz" not in said
    assert said


# --- files that are not to be used -------------------------------------------------------


def cut(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def flip(place: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    return damage


def garble(path: Path) -> None:
    path.write_bytes(b"\x00" * 5000)


def writable_by_all(path: Path) -> None:
    path.chmod(0o666)


def of_another_program(path: Path) -> None:
    """Whole in itself, and of other numbers than its name says."""
    other = path.parent.parent / "other"
    opened(other).program("step", 4, replace(SPEC, arguments=(array(8),)))
    files(other)[0].replace(path)


def of_another_format(path: Path) -> None:
    """Whole, with the right key, and nothing that can be loaded."""
    key = opened(path.parent.parent)._key("step", 4, SPEC)
    path.write_bytes(executables._content(key, b"nothing that was pickled"))


DAMAGES = {
    "empty": cut(0),
    "cut in the form": cut(0.001),
    "cut in the middle": cut(0.5),
    "cut at the end": cut(0.999),
    "flipped in the form": flip(3),
    "flipped in the digest": flip(30),
    "flipped in the middle": flip(1500),
    "flipped at the end": flip(-1),
    "garbled": garble,
    "another program's": of_another_program,
    "another format": of_another_format,
    "writable by all": writable_by_all,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_used_is_made_anew(
    tmp_path: Path,
    kept: Path,
    damage: str,
    traced: list[ProgramSpec],
    caplog: pytest.LogCaptureFixture,
) -> None:
    DAMAGES[damage](kept)
    traced.clear()
    caplog.set_level("INFO", "serve")
    programs = opened(tmp_path)
    check(programs.program("step", 4, SPEC))
    programs.tell()
    programs.tell()
    assert len(traced) == 1
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert "could not be used and were made anew: 1 (the first: " in record.getMessage()

    caplog.clear()
    again = opened(tmp_path)
    check(again.program("step", 4, SPEC))
    again.tell()
    assert len(traced) == 1
    assert not caplog.records
    assert files(tmp_path) == [kept]


def test_a_file_of_another_user_is_not_opened_up(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unpickled(_: bytes) -> NoReturn:
        raise AssertionError

    owner = kept.stat().st_uid
    status = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 0, owner + 1234, *(0,) * 5))
    monkeypatch.setattr(executables.os, "fstat", lambda _: status)
    monkeypatch.setattr(executables.pickle, "loads", unpickled)
    caplog.set_level("INFO", "serve")
    programs = opened(tmp_path)
    check(programs.program("step", 4, SPEC))
    programs.tell()
    assert f"(the first: it belongs to user {owner + 1234})" in caplog.text


def test_a_directory_in_its_place_is_done_without(
    tmp_path: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept.unlink()
    (kept / "inside").mkdir(parents=True)
    caplog.set_level("INFO", "serve")
    programs = opened(tmp_path)
    check(programs.program("step", 4, SPEC))
    programs.tell()
    unread, unwritten = caplog.messages
    assert "made anew: 1 (the first: Is a directory)" in unread
    assert "that could not be kept in" in unwritten
    assert files(tmp_path) == [kept]


def test_one_that_is_not_allowed_to_be_read(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(path: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(path))

    programs = opened(tmp_path)
    monkeypatch.setattr(executables, "_read_own", refused)
    monkeypatch.setattr(Path, "exists", refused)
    caplog.set_level("INFO", "serve")
    assert not programs.has("step", 4, SPEC)
    check(programs.program("step", 4, SPEC))
    programs.tell()
    assert "(the first: Permission denied)" in caplog.text
    assert files(tmp_path) == [kept]


# --- writing -----------------------------------------------------------------------------


def test_others_may_read_a_program_and_only_its_owner_write_it(kept: Path) -> None:
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644


def test_a_directory_that_cannot_be_written_is_read(
    tmp_path: Path, kept: Path, traced: list[ProgramSpec], caplog: pytest.LogCaptureFixture
) -> None:
    traced.clear()
    os.utime(kept, (0, 0))
    directory = KeptPrograms(tmp_path)
    directory.mend()
    directory.writable = False
    caplog.set_level("INFO", "serve")
    programs = Executables(directory, "facts", MESH)
    check(programs.program("step", 4, SPEC))
    assert not traced
    check(programs.program("other", 4, SPEC))
    assert len(traced) == 1
    programs.tell()
    assert files(tmp_path) == [kept]
    assert not caplog.records


def test_a_full_disk_leaves_no_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    caplog.set_level("INFO", "serve")
    programs = opened(tmp_path)
    for size in (4, 5):
        check(programs.program("step", size, SPEC))
    programs.tell()
    (message,) = caplog.messages
    assert ": 2 (the first: No space left on device); the next start compiles them" in message
    assert not files(tmp_path)


def test_what_no_start_has_used_for_long_is_deleted(tmp_path: Path, kept: Path) -> None:
    (kept.parent / "unfinished-x").touch()
    (kept.parent / "a person's notes").touch()
    opened(tmp_path).tell()
    assert len(files(tmp_path)) == 3
    for path in files(tmp_path):
        os.utime(path, (0, 0))
    opened(tmp_path).tell()
    assert [path.name for path in files(tmp_path)] == ["a person's notes"]


def test_two_processes_keep_programs_in_one_directory(
    tmp_path: Path, traced: list[ProgramSpec]
) -> None:
    tests = Path(__file__).parent
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(tests)!r}, {str(tests.parents[1])!r}]
from test_executables import SPEC, check, opened
for size in range(20):
    check(opened(Path(sys.argv[1])).program("step", size, SPEC))
"""
    both = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(files(tmp_path)) == 20
    for size in range(20):
        check(opened(tmp_path).program("step", size, SPEC))
    assert not traced


# --- an engine ---------------------------------------------------------------------------


async def answers(directory: Path) -> tuple[list[list[list[TokenEvent]]], set[str]]:
    """What an engine answers whose programs are kept there; and what its start said it did."""
    model = tiny_model()
    runner = Runner(model, CONFIG, kept=keep_programs(directory))
    engine = Engine(runner, CONFIG, EngineInfo(CONTEXT, TINY.vocab_size, "fp_test"))
    done: set[str] = set()
    async with bridged(engine) as bridge:
        await asyncio.to_thread(
            engine.start, bridge.on_step, lambda _: None, lambda *said: done.add(said[2])
        )
        asked = [
            request(list(range(1, 30)), 12),
            request([5, 6, 7], 12, temperature=0.9, seed=3, top_k=40, top_p=0.9, choices=2),
            request([8, 9], 8, seed=4, logprobs=True, min_p=0.02, frequency_penalty=0.5),
        ]
        told = await asyncio.gather(*(events_of(bridge, each) for each in asked))
        assert engine.stats.compilations == 0
    engine.stop()
    return told, done


async def test_a_warm_engine_traces_nothing_and_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, done = await answers(tmp_path)
    assert all(said.startswith("compiling ") for said in done if said)

    def lowered(_: ProgramSpec) -> NoReturn:
        raise AssertionError

    monkeypatch.setattr(ProgramSpec, "lower", lowered)
    monkeypatch.setattr(ProgramSpec, "compile", lowered)
    warm, done = await answers(tmp_path)
    assert done == {"loading kept programs", ""}
    assert warm == cold

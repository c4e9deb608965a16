"""What a GGUF file says of itself is checked before it is used."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.gguf_files import TYPES, write_gguf

from model.config import CheckpointError
from model.weights.gguf_file import part_files, read_gguf

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.block_words": ["a", "ä"],
}
# The name's length and characters, the number of axes, and then what a test changes.
NAME = struct.pack("<Q", 5) + b"first" + struct.pack("<I", 2)


def tensors() -> dict[str, np.ndarray]:
    return {
        "first": np.arange(6, dtype=np.float32).reshape(2, 3),
        "second": np.arange(5, dtype=np.float16),
    }


def written(directory: Path, name: str = "model.gguf") -> Path:
    return write_gguf(directory / name, METADATA, tensors())


def test_metadata_and_places(tmp_path):
    found = read_gguf(written(tmp_path))
    assert {key: found.metadata[key] for key in METADATA} == METADATA
    first, second = found.tensors.values()
    assert (first.kind, first.shape, first.size) == (TYPES.F32, (2, 3), 24)
    assert (second.kind, second.shape, second.size) == (TYPES.F16, (5,), 10)
    # The second begins at the next multiple of 32.
    assert second.begin - first.begin == 32
    data = found.path.read_bytes()
    assert data[first.begin : first.begin + 24] == tensors()["first"].tobytes()


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert data.count(old) == 1
        return data.replace(old, new)

    return change


def packed(form: str, *numbers: int) -> bytes:
    return struct.pack(form, *numbers)


def head(version: int = 3, count: int = 2, keys: int = 3) -> Callable[[bytes], bytes]:
    return lambda data: data[:4] + packed("<IQQ", version, count, keys) + data[24:]


SHAPE = packed("<QQ", 3, 2)
AFTER_SHAPE = packed("<IQ", 0, 0)
BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another file": (lambda data: b"GGML" + data[4:], "does not begin with GGUF"),
    "empty": (lambda data: b"", "does not begin with GGUF"),
    "magic alone": (lambda data: data[:4], "truncated or damaged"),
    "pointer": (
        lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "pointer that Git LFS left",
    ),
    "version 1": (head(version=1), "version 1 of the GGUF format"),
    "version 4": (head(version=4), "version 4 of the GGUF format"),
    "big-endian": (head(version=3 << 24), "the other byte order"),
    "cut in the head": (lambda data: data[:60], "truncated or damaged"),
    "cut in the data": (lambda data: data[:-40], "its tensor second ends at"),
    "endless keys": (head(keys=2**63), "truncated or damaged|damaged head"),
    "endless tensors": (head(count=2**63), "truncated or damaged|damaged head"),
    "endless text": (
        replaced(packed("<Q", 20) + b"general.architecture", packed("<Q", 2**63) + b"general."),
        "truncated or damaged",
    ),
    "endless array": (
        replaced(packed("<IQ", 8, 2), packed("<IQ", 8, 2**60)),
        "truncated or damaged",
    ),
    "endless numbers": (
        replaced(packed("<IQ", 8, 2), packed("<IQ", 12, 2**60)),
        "truncated or damaged",
    ),
    "array of arrays": (replaced(packed("<IQ", 8, 2), packed("<IQ", 9, 2)), "value of kind 9"),
    "no text": (replaced("ä".encode(), b"\xff\xff"), "is no UTF-8"),
    "no such value": (
        replaced(b"llama.block_count" + packed("<I", 4), b"llama.block_count" + packed("<I", 99)),
        "value of kind 99",
    ),
    "a key twice": (
        replaced(b"llama.block_words", b"llama.block_count"),
        "it has the key llama.block_count twice",
    ),
    "no such numbers": (
        replaced(NAME + SHAPE + AFTER_SHAPE, NAME + SHAPE + packed("<IQ", 77, 0)),
        "the tensor first in numbers of kind 77",
    ),
    "five axes": (replaced(NAME, NAME[:-4] + packed("<I", 5)), "first has 5 axes"),
    "a huge shape": (
        replaced(NAME + SHAPE, NAME + packed("<QQ", 2**62, 2**62)),
        "its tensor first ends at",
    ),
    "half a block": (
        replaced(NAME + SHAPE + AFTER_SHAPE, NAME + SHAPE + packed("<IQ", 2, 0)),
        "rows of 3 and Q4_0 is in blocks of 32",
    ),
    "another place": (
        replaced(NAME + SHAPE + AFTER_SHAPE, NAME + SHAPE + packed("<IQ", 0, 2**40)),
        f"first is said to lie at {2**40}",
    ),
    "a tensor twice": (
        replaced(packed("<Q", 6) + b"second", packed("<Q", 5) + b"first"),
        "it has the tensor first twice",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_a_sentence(tmp_path, name):
    change, words = BROKEN[name]
    path = written(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=words) as raised:
        read_gguf(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("alignment", [0, 24])
def test_an_alignment_is_a_power_of_two(tmp_path, alignment):
    metadata = METADATA | {"general.alignment": alignment}
    path = write_gguf(tmp_path / "model.gguf", metadata, tensors())
    with pytest.raises(CheckpointError, match=f"general.alignment is {alignment}"):
        read_gguf(path)


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_gguf(tmp_path / "model.gguf")


def split(directory: Path) -> list[Path]:
    """One tensor in each of two parts."""
    write_gguf(
        directory / "model.gguf", METADATA, tensors(), split_max_tensors=1, small_first_shard=False
    )
    return sorted(directory.glob("*.gguf"))


def test_parts_are_one_model(tmp_path):
    files = split(tmp_path)
    assert [file.name[-19:] for file in files] == ["00001-of-00002.gguf", "00002-of-00002.gguf"]
    for file in files:
        found = read_gguf(file)
        assert found.files == tuple(files)
        assert [tensor.file for tensor in found.tensors.values()] == files
        assert found.metadata["llama.block_words"] == ["a", "ä"]
        assert len(set(found.heads)) == 2


def test_a_missing_part(tmp_path):
    first, second = split(tmp_path)
    second.unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002.gguf is missing, part 2 of 2"):
        read_gguf(first)


def test_parts_under_other_names(tmp_path):
    first, second = split(tmp_path)
    second.rename(tmp_path / "whole.gguf")
    with pytest.raises(CheckpointError, match=r"split.no 1 of split.count 2.*part 1 of 1"):
        read_gguf(tmp_path / "whole.gguf")
    (tmp_path / "whole.gguf").rename(first)
    second.write_bytes(first.read_bytes())
    with pytest.raises(CheckpointError, match=r"split.no 1 of split.count 2.*part 1 of 2"):
        read_gguf(first)


def test_parts_of_other_models(tmp_path):
    first, second = split(tmp_path)
    data = second.read_bytes()
    name = packed("<Q", 6) + b"second"
    second.write_bytes(data.replace(name, packed("<Q", 5) + b"first"))
    with pytest.raises(CheckpointError, match=r"damaged|has the tensor first, which"):
        read_gguf(first)


def test_a_part_without_all_its_tensors(tmp_path):
    key = b"split.tensors.count" + packed("<I", 5)
    for file in split(tmp_path):
        data = file.read_bytes()
        assert data.count(key + packed("<i", 2)) == 1
        file.write_bytes(data.replace(key + packed("<i", 2), key + packed("<i", 3)))
    with pytest.raises(CheckpointError, match="have 2 tensors and should have 3"):
        read_gguf(file)


def test_a_number_of_a_part_that_cannot_be(tmp_path):
    with pytest.raises(CheckpointError, match="is not named for a part of 2"):
        part_files(tmp_path / "model-00003-of-00002.gguf")


def test_parts_that_were_merged_say_that_there_are_none(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", METADATA | {"split.count": 0}, tensors())
    assert len(read_gguf(path).tensors) == 2

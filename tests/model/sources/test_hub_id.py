import pytest

from model.config import CheckpointError
from model.sources.hub_id import HubId, parse_hub_id, parts, stem


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("Qwen/Qwen3-0.6B", HubId("Qwen/Qwen3-0.6B")),
        ("Qwen/Qwen3-0.6B@main", HubId("Qwen/Qwen3-0.6B", "main")),
        ("a/b_c.d@refs/pr/1", HubId("a/b_c.d", "refs/pr/1")),
        ("a/b:Q8_0/c d.gguf", HubId("a/b", "", "Q8_0/c d.gguf")),
        ("a/b@v1:c@d:e.gguf", HubId("a/b", "v1", "c@d:e.gguf")),
        ("a", None),
        ("a/b/c", None),
        ("/a/b", None),
        ("a/b@", None),
        ("a/b:", None),
        ("a/b c", None),
        ("ä/b", None),
    ],
)
def test_an_id_is_read(given: str, read: HubId | None) -> None:
    assert parse_hub_id(given) == read


def test_a_file_that_is_no_gguf_file() -> None:
    with pytest.raises(CheckpointError) as refused:
        parse_hub_id("a/b:Q4_K_M")
    assert str(refused.value) == (
        "a/b:Q4_K_M names Q4_K_M behind the colon, where a GGUF file of a/b belongs; give its "
        "whole name, like a/b:model-Q8_0.gguf"
    )


@pytest.mark.parametrize(
    ("file", "name", "files"),
    [
        ("a-Q8_0.gguf", "a-Q8_0", ["a-Q8_0.gguf"]),
        ("d/a-00001-of-00001.gguf", "d/a", ["d/a-00001-of-00001.gguf"]),
        ("a-00002-of-00002.gguf", "a", ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]),
        ("a-1-of-2.gguf", "a-1-of-2", ["a-1-of-2.gguf"]),
    ],
)
def test_the_parts_of_a_file(file: str, name: str, files: list[str]) -> None:
    assert stem(file) == name
    assert parts(file) == files

import pytest

from model.config import CheckpointError
from model.sources.hub_id import HubId, parse_hub_id


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

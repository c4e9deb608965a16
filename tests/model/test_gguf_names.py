import pytest

from model.gguf_names import gguf_name, part_names


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
    assert gguf_name(file).stem == name
    assert part_names(file) == files

"""The filter of the benchmark is one that the server takes, and that holds ordinary text back."""

from pathlib import Path

from serve.filter.content_filter import read_filter
from tools.bench_filter import made_up_filter


def test_the_filter_is_read_and_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "filter.toml"
    path.write_text(made_up_filter(1_000, 20))
    content_filter = read_filter(path)
    text = "In the morning you may be unsure whether to read it. " * 20
    assert content_filter.found_in(text) is None
    judge = content_filter.judge()
    assert judge is not None
    passed = [judge.feed(character) for character in text]
    assert "" in passed
    assert "".join(passed) + judge.flush() == text

"""What is searched for, of what the user has said."""

import pytest

from serve.search.query import MOST_CHARACTERS, query_of

LONG = "word " * 200


@pytest.mark.parametrize(
    ("said", "query"),
    [
        ([], ""),
        (["", " \n"], ""),
        (["How high\n is  the Brocken?"], "How high is the Brocken?"),
        (["How warm is Oslo?", "And in winter?"], "How warm is Oslo? And in winter?"),
        (["How warm is Oslo?", "And in winter?", "  "], "How warm is Oslo? And in winter?"),
        (["How warm is Oslo?", "What is the capital of Chad?"], "What is the capital of Chad?"),
        (["First", "Second", "Third"], "Second Third"),
        (["奥斯陆的冬天冷吗", "那么夏天呢"], "奥斯陆的冬天冷吗 那么夏天呢"),
        (["Hello", "奥斯陆" * 11], "奥斯陆" * 11),
        ([LONG + "Well. Is this long? " + LONG], "Is this long?"),
    ],
)
def test_queries(said: list[str], query: str) -> None:
    assert query_of(said) == query


@pytest.mark.parametrize("said", [[LONG], [LONG, "And you?"], ["北" * 9000], ["?" * 10**6]])
def test_a_query_is_bounded(said: list[str]) -> None:
    query = query_of(said)
    assert MOST_CHARACTERS - 10 < len(query) <= MOST_CHARACTERS
    assert not query.endswith("wor")

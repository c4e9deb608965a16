"""Questions about two hundred documents, answered by what copies numbers as they are shown."""

import re
from collections.abc import AsyncIterator, Callable
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.fact_documents import FactDocument, fact_documents

from serve.indexing import index_directory
from serve.search.local_index import LocalIndex

BASE = "https://x.example/docs"
# Of 200; sorts of files and of questions take turns.
ASKED = 50
# As docs/web-search.md has it.
SHOWN = re.compile(r'^\[(\d)\] ".*"\n\S+\n(```+)\n([^`]*)\n\2$', re.MULTILINE)
MARK = re.compile(r"\[\d\]")


@pytest.fixture(scope="module")
def documents() -> list[FactDocument]:
    return fact_documents()


@pytest.fixture(scope="module")
def directory(documents: list[FactDocument], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents with their index."""
    made = tmp_path_factory.mktemp("facts")
    for each in documents:
        path = made / each.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(each.data)
    assert index_directory(made, None, BASE, lambda _: None).read == 200
    return made


@pytest.fixture
async def house(
    make_house: Any, answering: Any, directory: Path, documents: list[FactDocument]
) -> AsyncIterator[Any]:
    """Its model knows which word is the answer, and cites the first source that has it."""
    index = LocalIndex(directory)
    made = make_house(search=index, context_length=2**16)
    answers = {each.question: each.answer for each in documents}

    def plan(request: Any) -> Any:
        prompt = made.tokenizer.spell(request.prompt)
        answer = answers[prompt.rpartition("[[<|im_end|>]]")[0].splitlines()[-1]]
        has = re.compile(rf"\b{answer}\b")
        numbers = [number for number, _, text in SHOWN.findall(prompt) if has.search(text)]
        return answering(f"🏔 {answer} {[int(each) for each in numbers[:1]]}. 🙂")(request)

    made.engine.plan = plan
    yield made
    await index.close()


async def test_the_right_document_is_cited(
    house: Any, ask: Any, read_stream: Callable[..., Any], documents: list[FactDocument]
) -> None:
    right = 0
    for asked in documents[:ASKED]:
        body = ask(web_search_options={})
        body["messages"] = [{"role": "user", "content": asked.question}]
        message = (await (await house.post(body)).get_json())["choices"][0]["message"]
        cited = [each["url_citation"] for each in message["annotations"]]
        content = message["content"]
        spans = [(each["start_index"], each["end_index"]) for each in cited]
        assert [content[start:end] for start, end in spans] == MARK.findall(content)
        right += [each["url"] for each in cited] == [f"{BASE}/{quote(asked.name)}"]
        for start, end in spans:
            # The mountain before it has two units.
            first, last = (len(content[:place].encode("utf-16-le")) // 2 for place in (start, end))
            assert (first, last) == (start + 1, end + 1)
            units = content.encode("utf-16-le")[2 * first : 2 * last]
            assert units.decode("utf-16-le") == content[start:end]
        *chunks, _ = read_stream(await (await house.post({**body, "stream": True})).get_data())
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert "".join(delta.get("content") or "" for delta in deltas) == content
        told = chain.from_iterable(delta.get("annotations", ()) for delta in deltas)
        assert list(told) == message["annotations"]
    assert right >= 45

"""Whatever strangers send is refused in a sentence or read within bounds; the next is read.

A case ends by itself within one second of a core; what it may take by the clock allows for a busy
machine.
"""

import json
from collections.abc import Iterator

import pytest
from support.bad_documents import BAD, GOOD, REFUSED

from serve.media.documents.limits import DocumentLimits
from serve.media.documents.reader import DocumentReader
from serve.media.errors import MediaError

LIMITS = DocumentLimits(seconds=1.0, memory=256 * 2**20)
READ = [case for case in BAD if case not in REFUSED]


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    made = DocumentReader(LIMITS)
    yield made
    made.close()


async def assert_undisturbed(reader: DocumentReader) -> None:
    document = await reader.read("good.pdf", GOOD)
    assert [page.text for page in document.pages] == ["A good file."]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", REFUSED)
async def test_it_is_refused_in_a_sentence_and_the_next_is_read(
    case: str, reader: DocumentReader
) -> None:
    name, declared, make, said = BAD[case]
    with pytest.raises(MediaError) as refused:
        await reader.read(name, make(), declared=declared, pictures=True)
    reason = refused.value.reason
    assert reason.startswith(f"File {json.dumps(name)} ")
    assert reason.endswith(".")
    assert str(said) in reason
    assert refused.value.code in ("file_too_large", "invalid_file", "unsupported_file")
    await assert_undisturbed(reader)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", READ)
async def test_it_is_read_within_bounds_and_so_is_the_next(
    case: str, reader: DocumentReader
) -> None:
    name, declared, make, _ = BAD[case]
    document = await reader.read(name, make(), declared=declared, pictures=True)
    text = "".join(page.text for page in document.pages)
    assert len(text.encode()) <= 4 * LIMITS.characters
    assert "root:" not in text
    for page in document.pages:
        assert page.picture is None or page.picture.size <= 6 * (LIMITS.picture_pixels + 1)
    await assert_undisturbed(reader)

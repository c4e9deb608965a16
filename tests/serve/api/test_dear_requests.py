"""What is cheap to send is cheap to refuse: every place of a request, made large in every way."""

import json
import math
import re
from typing import Any

import pytest
from pydantic import ValidationError

from sampling.params import MAX_LOGIT_BIAS
from serve.api.asking import prepare
from serve.api.wire.request import ChatRequest
from serve.api.wire.response import ErrorBody
from tools.dear_requests import DearRequest, dear_requests

SIZE = 8_000
# Only the first finding is told. More are made on the way where an object has many members, but no
# more than a bias may have: these bodies have thousands of what can be wrong.
MOST_FINDINGS = MAX_LOGIT_BIAS
MOST_MESSAGE = 1_000
SHAPES = list(dear_requests("tiny"))


def field_of(shape: DearRequest) -> str:
    return re.split(r"[.:\[]", shape.name)[0]


FIELDS = sorted(set(map(field_of, SHAPES)))


class Findings:
    """How many findings pydantic made of one request."""

    def __init__(self) -> None:
        self.seen = 0
        self.asked = 0

    @classmethod
    def watched(cls, monkeypatch: pytest.MonkeyPatch) -> "Findings":
        """From now on."""
        found, validate = cls(), ChatRequest.model_validate

        def counting(value: Any, **how: Any) -> ChatRequest:
            found.asked += 1
            try:
                return validate(value, **how)
            except ValidationError as error:
                found.seen = error.error_count()
                raise

        monkeypatch.setattr(ChatRequest, "model_validate", counting)
        return found


async def outcome(house: Any, shape: DearRequest, size: int) -> tuple[int, int]:
    """Status, and length of an error's message."""
    response = await house.post(raw=shape.body(size), **shape.headers)
    data = await response.get_data()
    if response.status_code == 200:
        return 200, 0
    assert response.headers["Content-Type"] == "application/json"
    error = json.loads(data)
    ErrorBody.model_validate(error)
    assert len(error["error"]["param"] or "") < MOST_MESSAGE
    return response.status_code, len(error["error"]["message"])


@pytest.fixture
def house(make_house: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that reads all bodies in this process, where findings can be counted."""
    monkeypatch.setattr(prepare, "MOST_CONTAINERS_HERE", math.inf)
    return make_house(settings={"process_body_bytes": 2 * SIZE})


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> Findings:
    return Findings.watched(monkeypatch)


@pytest.mark.parametrize("field", FIELDS)
async def test_a_large_value_is_taken_or_refused_in_few_words(
    house: Any, findings: Findings, field: str
) -> None:
    """The work of refusing does not grow with how much is wrong."""
    wrong: dict[str, Any] = {}
    shapes = [shape for shape in SHAPES if field_of(shape) == field]
    for shape in shapes:
        findings.seen = 0
        status, length = await outcome(house, shape, SIZE)
        if (
            status not in (200, 400, 404, 413)
            or length >= MOST_MESSAGE
            or findings.seen > MOST_FINDINGS
        ):
            wrong[shape.name] = (status, length, findings.seen)
    assert not wrong, f"{len(wrong)} of {len(shapes)}, with (status, message, findings): {wrong}"
    assert findings.asked or field in ("body", "compressed")

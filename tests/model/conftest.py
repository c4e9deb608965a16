"""What the tests of the model have in common."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quickly(quickly: None) -> None:
    pass

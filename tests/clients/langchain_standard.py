"""LangChain's own tests of chat models, on `ChatOpenAI`.

Its arguments are the server's address, and that of one whose model sees.

Each test is told of in a line: a JSON object with the `test`, its `outcome` (passed, skipped,
xfailed or failed) and the `reason` for anything but passed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

BASE_URL, SEEING_URL = sys.argv[1:]
MEDIA = Path(__file__).parent / "media"
CLIP = MEDIA.parents[1] / "fixtures" / "speech" / "clips" / "en-1.wav"

AT_SEEING = ("test_image_inputs", "test_anthropic_inputs", "test_audio_inputs")

text_only = pytest.mark.xfail(
    raises=pytest.RaisesExc(openai.BadRequestError, match="Supported values are: 'text'"),
    strict=True,
    reason="the API has only text in messages of tools",
)


class TestChatOpenAI(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _nothing_is_fetched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tests fetch a picture, a PDF and a sound from the internet."""
        ours = {".pdf": MEDIA / "anna.pdf", ".wav": CLIP}

        def get(url: str, **_: object) -> httpx.Response:
            path = ours.get(Path(url).suffix, MEDIA / "dots.png")
            return httpx.Response(200, content=path.read_bytes())

        monkeypatch.setattr(httpx, "get", get)

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "base_url": BASE_URL,
            "api_key": "none",
            "model": "parlance-bundled",
            "temperature": 0,
            "stream_usage": True,
        }

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        """The one that sees and hears, where something is to be seen or heard."""
        more = getattr(request, "param", None) or {}
        if request.node.name in AT_SEEING:
            more = {"base_url": SEEING_URL, "model": "seeing"}
        return ChatOpenAI(**self.standard_chat_model_params | self.chat_model_params | more)

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "parlance-bundled"

    @text_only
    def test_image_tool_message(self, model: BaseChatModel) -> None:
        super().test_image_tool_message(model)

    @text_only
    def test_pdf_tool_message(self, model: BaseChatModel) -> None:
        super().test_pdf_tool_message(model)

    @pytest.mark.xfail(
        raises=OutputParserException,
        strict=True,
        reason="a schema told in words is too much for the bundled model",
    )
    def test_json_mode(self, model: BaseChatModel) -> None:
        super().test_json_mode(model)

    @pytest.mark.xfail(
        raises=AssertionError, strict=True, reason="the bundled model reads only English"
    )
    def test_unicode_tool_call_integration(self, model: BaseChatModel, **options: Any) -> None:
        super().test_unicode_tool_call_integration(model, **options)


class Teller:
    """A plugin of pytest that prints the lines."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of the three phases of a test its call counts, or the first that did not pass."""
        if report.when != "call" and report.passed:
            return
        outcome, reason = report.outcome, None
        if hasattr(report, "wasxfail"):
            outcome, reason = "xfailed", report.wasxfail
        elif report.skipped:
            reason = report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed:
            reason = report.longreprtext
        test = report.nodeid.rpartition("::")[2]
        print(json.dumps({"test": test, "outcome": outcome, "reason": reason}), flush=True)


if __name__ == "__main__":
    here = Path(__file__).parent
    alone = ["-c", "/dev/null", "--rootdir", str(here), "--confcutdir", str(here)]
    settings = ["-p", "no:cacheprovider", "-p", "no:terminal", "-o", "asyncio_mode=auto"]
    code = pytest.main([*alone, *settings, __file__], plugins=[Teller()])
    # That some fail is told in their lines.
    sys.exit(0 if code == pytest.ExitCode.TESTS_FAILED else code)

"""The command `llm`, told of the server in `extra-openai-models.yaml`."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cells import (
    ANNA,
    BASE_URL,
    LONG_SUM,
    PERSON,
    PERSON_AS_JSON,
    SEEING_URL,
    SUM,
    THOUGHT,
    WEATHER,
    WEATHER_FOUND,
    fails,
    report,
    works,
)
from media_cells import ABOUT, PDF, SEEING, Told, check_file, check_images
from sound_cells import check_sounds

HERE = Path(__file__).parent
FUNCTION = f'''
def get_weather(city: str) -> str:
    """Get the current weather for a city."""
    return {WEATHER_FOUND!r}
'''
HOME = Path(tempfile.mkdtemp())
SHOWN = (HERE / "extra-openai-models.yaml").read_text()
(HOME / "extra-openai-models.yaml").write_text(
    SHOWN.replace("BASE_URL", BASE_URL)
    + SHOWN.replace("BASE_URL", SEEING_URL)
    .replace("model_id: parlance", f"model_id: {SEEING}")
    .replace("parlance-bundled", SEEING)
)


def llm(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command with these arguments."""
    done = subprocess.run(
        [Path(sys.executable).parent / "llm", "-m", "parlance", *arguments],
        check=False,
        env=os.environ | {"LLM_USER_PATH": str(HOME)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    sys.stderr.write(done.stderr)
    assert (done.returncode != 0) == fails, done
    return done


def chat() -> None:
    assert "12" in llm("--no-stream", SUM).stdout


def stream() -> None:
    assert "12" in llm(SUM).stdout


def usage() -> None:
    assert re.search(r"\d+ input, \d+ output", llm("--no-stream", "--usage", SUM).stderr)


def streamed_usage() -> None:
    assert re.search(r"\d+ input, \d+ output", llm("--usage", SUM).stderr)


def stop() -> None:
    text = llm("-o", "stop", "12", SUM).stdout
    assert "=" in text
    assert "12" not in text


def errors() -> None:
    assert "max_tokens" in llm("-o", "max_tokens", "0", SUM, fails=True).stderr


def tools() -> None:
    done = llm("--no-stream", "--tools-debug", "--functions", FUNCTION, WEATHER)
    assert "get_weather({'city': 'Paris'})" in done.stderr


def streamed_tools() -> None:
    done = llm("--tools-debug", "--functions", FUNCTION, WEATHER)
    assert "get_weather({'city': 'Paris'})" in done.stderr


def tool_loop() -> None:
    assert "21" in llm("--functions", FUNCTION, WEATHER).stdout


def structured_output() -> None:
    assert json.loads(llm("--schema", "name, age int", PERSON).stdout) == ANNA.model_dump()


def json_mode() -> None:
    text = llm("-o", "json_object", "1", PERSON_AS_JSON).stdout
    assert json.loads(text) == ANNA.model_dump()


def told_of(path: Path) -> Told:
    done = llm("-m", SEEING, "-o", "temperature", "0", "--usage", "-a", str(path), ABOUT)
    (tokens,) = re.findall(r"(\d+) input", done.stderr)
    return Told(done.stdout.removesuffix("\n"), int(tokens))


@works("with `vision: true`")
def images() -> None:
    check_images(told_of)


@works("PDF, with `vision: true`")
def files() -> None:
    check_file(told_of, PDF, f"{hashlib.sha256(PDF.read_bytes()).hexdigest()}.pdf")


@works("with `audio: true`")
def sound_in() -> None:
    check_sounds(told_of)


@fails("no thought", "it reads thoughts of OpenAI's Responses API only")
def thoughts() -> None:
    done = llm(LONG_SUM)
    assert THOUGHT in done.stderr, f"no thought in {done}"


report(
    chat,
    stream,
    usage,
    streamed_usage,
    stop,
    errors,
    tools,
    streamed_tools,
    tool_loop,
    structured_output,
    json_mode,
    images,
    files,
    sound_in,
    thoughts,
)

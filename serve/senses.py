"""What a server has beside its model, from its settings: voices, and somewhere to search."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from importlib.util import find_spec

from serve.config import ServeConfig, expanded
from serve.search.local_index import LocalIndex
from serve.search.searxng import SearXNG
from serve.search.types import SearchError, SearchProvider, SearchSettings
from serve.voice.settings import VoiceSettings
from serve.voice.speaker import Speaker
from serve.voice.voices import read_voices

logger = logging.getLogger(__name__)

_NO_EXTRA = "sound needs the extra audio: in the checkout run pip install '.[audio]'"
_NO_PROGRAM = (
    "the program espeak-ng is not there: on Debian and Ubuntu run apt-get install espeak-ng"
)


class SensesError(Exception):
    """The settings ask for something that is not there; the message says what to do."""


def check_sound() -> None:
    """See whether sound can be read and written.

    Raises:
        SensesError: it cannot.
    """
    if find_spec("av") is None:
        raise SensesError(_NO_EXTRA)


def voices_of(config: ServeConfig) -> tuple[Speaker | None, str]:
    """What speaks answers; or why nothing does, where no voices are asked for.

    Raises:
        SensesError: those of the file that is named cannot speak.
        VoicesFileError: that file cannot be used.
    """
    if config.voices == "off":
        return None, "it was started with --voices off"
    settings = VoiceSettings(config.voice_processes)
    voices = read_voices(config.voices_file)
    missing = "" if find_spec("av") else _NO_EXTRA
    missing = missing or ("" if shutil.which("espeak-ng") else _NO_PROGRAM)
    if config.voices_file is None:
        if missing:
            logger.info("answers are not spoken: %s", missing)
        return (None, missing) if missing else (Speaker(voices, settings), "")
    if missing:
        raise SensesError(missing)
    speaker = Speaker(voices, settings)
    try:
        speaker.try_out()
    except OSError as error:
        raise SensesError(f"voices {config.voices}: {error}") from error
    return speaker, ""


def search_of(config: ServeConfig) -> SearchProvider | None:
    """Where is searched, if anywhere.

    Raises:
        SensesError: it is not there, or not such as can be searched.
    """
    settings = SearchSettings(seconds=config.search_seconds, language=config.search_language)
    if config.search_index:
        return _checked(lambda: LocalIndex(expanded(config.search_index), settings))
    if config.search_url:
        return _checked(lambda: SearXNG(config.search_url, settings))
    return None


def _checked(make: Callable[[], SearchProvider]) -> SearchProvider:
    """A provider, after another one of the kind was tried: each belongs to one event loop."""

    async def check() -> None:
        provider = make()
        try:
            await provider.check()
        finally:
            await provider.close()

    try:
        asyncio.run(check())
    except SearchError as error:
        if error.reason not in ("timeout", "unreachable"):
            raise SensesError(str(error)) from error
        logger.warning("%s; until it answers, requests are answered without a search", error)
    return make()

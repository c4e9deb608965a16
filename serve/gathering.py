"""What reads, hears, searches and speaks beside a model of text, put together for one server.

Knows nothing of requests.
"""

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from quart import Quart

from model.tokenizer import Tokenizer
from serve.api.answering.spoken import SpeakingSettings
from serve.api.asking.gatherer import Gatherer, SpokenAnswers
from serve.api.asking.media import MediaRefusals
from serve.api.asking.searcher import Searcher
from serve.api.asking.sound_gatherer import SoundGatherer
from serve.api.asking.speech import SpeechOffer
from serve.api.http.spoken_answers import KnownAnswers
from serve.api.http.uploaded import UploadedFiles
from serve.api.settings import ApiSettings
from serve.engine.hearing import Hears
from serve.engine.types import EngineInfo
from serve.media import extra
from serve.media.documents.limits import DocumentLimits
from serve.media.documents.reader import DocumentReader
from serve.media.fetcher import FetchLimits, ImageFetcher
from serve.media.limits import PictureLimits
from serve.metrics import Metrics
from serve.search.types import SearchProvider
from serve.sight import Sight
from serve.store.store import Store
from serve.voice.speaker import Speaker

if TYPE_CHECKING:
    from serve.api.asking.media_gatherer import MediaGatherer

# Pictures that are decoded side by side, on cores that compute tokens too.
_MOST_PICTURE_THREADS = 4


@dataclass(frozen=True, slots=True)
class Senses:
    """What a server has beside a model of text.

    Attributes:
        sight: how the model sees, if it does.
        hearing: a speech model, if there is one.
        unheard: why there is none.
        search: where is searched, if anywhere.
        speaker: speaks answers, if something does.
        unspoken: why nothing does.
    """

    sight: Sight | None = None
    hearing: Hears | None = None
    unheard: str = "it was started without a speech model"
    search: SearchProvider | None = None
    speaker: Speaker | None = None
    unspoken: str = "it was started without voices"


def gathering(
    app: Quart,
    senses: Senses,
    settings: ApiSettings,
    info: EngineInfo,
    tokenizer: Tokenizer,
    metrics: Metrics,
    store: Store | None,
    answers: SpokenAnswers,
) -> tuple[MediaRefusals, Gatherer]:
    """The gatherer, and why some things are not taken.

    Args:
        app: closes what it has.
        senses: of the server.
        settings: of the HTTP side.
        info: facts about the model.
        tokenizer: of the model.
        metrics: told of searches.
        store: has uploaded files, if there is one.
        answers: that were spoken.
    """
    refusals, media = _media(app, senses.sight, settings, info, store)
    searcher = None
    if senses.search is not None:
        app.after_serving(senses.search.close)
        searcher = Searcher(
            senses.search,
            lambda text: len(tokenizer.encode(text)),
            info.context_length,
            metrics.count_search,
        )
    if senses.hearing is None:
        refusals = replace(refusals, sound=senses.unheard)
    return refusals, Gatherer(
        media, _sound(app, senses.hearing, settings, metrics), answers, searcher
    )


def speaking(
    app: Quart,
    senses: Senses,
    settings: ApiSettings,
    metrics: Metrics,
    answers: KnownAnswers,
) -> tuple[SpeechOffer, SpeakingSettings | None]:
    """Which voices there are, and how they speak.

    Args:
        app: starts and closes them.
        senses: of the server.
        settings: of the HTTP side.
        metrics: told of what is spoken.
        answers: gets to know what they say.
    """
    speaker = senses.speaker
    if speaker is None:
        return SpeechOffer(refusal=senses.unspoken), None
    # It needs an extra, which whoever has voices has.
    from serve.voice.formats import encode

    if any(voice.model for voice in speaker.voices.values()):
        # Models take seconds to load; espeak-ng is there at once when it is first asked.
        app.before_serving(speaker.start)
    app.after_serving(speaker.close)
    speaking = SpeakingSettings(
        begin=lambda name: speaker.begin(speaker.voices[name]),
        encoded=encode,
        keep=answers.keep,
        seconds=settings.audio_seconds,
        most_seconds=settings.max_spoken_seconds,
        retry_after=settings.retry_after_seconds,
        on_spoken=partial(metrics.count_sound, "spoken"),
    )
    return SpeechOffer(sorted(speaker.voices)), speaking


def _sound(
    app: Quart, hearing: Hears | None, settings: ApiSettings, metrics: Metrics
) -> SoundGatherer | None:
    if hearing is None:
        return None
    # It needs an extra, which whoever has a speech model has.
    from serve.media.sound.limits import SoundLimits
    from serve.media.sound.reader import SoundReader

    reader = SoundReader(SoundLimits.of(settings.max_audio_bytes, settings.max_audio_seconds))
    app.after_serving(reader.close)
    return SoundGatherer.of(
        reader,
        hearing,
        most_bytes=settings.max_audio_bytes,
        most_seconds=settings.max_audio_seconds,
        most_body_bytes=settings.max_body_bytes,
        retry_after=settings.retry_after_seconds,
        on_heard=partial(metrics.count_sound, "heard"),
    )


def _media(
    app: Quart,
    sight: Sight | None,
    settings: ApiSettings,
    info: EngineInfo,
    store: Store | None,
) -> "tuple[MediaRefusals, MediaGatherer | None]":
    """What reads pictures and files, and why some are not taken."""
    if reason := extra.missing():
        return MediaRefusals(reason, reason), None
    # They need the extra.
    from serve.api.asking.media_gatherer import MediaGatherer
    from serve.media.gather import ImageGatherer
    from serve.media.reader import PictureReader

    images = None
    if sight is not None:
        limits = PictureLimits(settings.max_image_bytes, settings.max_image_pixels)
        reader = PictureReader(limits, min(_MOST_PICTURE_THREADS, os.cpu_count() or 1))
        app.after_serving(reader.close)
        fetching = FetchLimits(settings.max_image_bytes)
        fetcher = ImageFetcher(fetching) if settings.fetch_images else None
        if fetcher is not None:
            app.after_serving(fetcher.close)
        images = ImageGatherer(
            *(reader, fetcher, sight.process),
            most=settings.max_images,
            view_tokens=min(info.image_tokens, info.context_length),
        )
    documents = DocumentReader(
        DocumentLimits(
            bytes=settings.max_document_bytes,
            pages=settings.max_document_pages,
            characters=settings.max_document_characters,
        )
    )
    app.after_serving(documents.close)
    files = None if store is None else UploadedFiles(store.files, settings)
    unseen = "" if images else "the model that is served does not see"
    gatherer = MediaGatherer.of(
        *(images, documents, files), info.context_length, settings.max_body_bytes
    )
    return MediaRefusals(images=unseen), gatherer

"""Players and figures of what is spoken and heard. Knows nothing of models.

Frames are log-mel, as Whisper takes them: a value for each of some bands, a hundred times a second.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from figures import BLUE, GREY, ORANGE, image
from IPython.display import HTML, Audio
from matplotlib.axes import Axes
from PIL import Image

_FRAMES_A_SECOND = 100
_BARS = {"written": GREY, "spoken": ORANGE, "played": BLUE}
_TICKS = (250, 500, 1000, 2000, 4000, 7000)


class Times(NamedTuple):
    """Of one sentence: begin and end in seconds of its writing, its speaking and its playing."""

    text: str
    written: tuple[float, float]
    spoken: tuple[float, float]
    played: tuple[float, float]


def players(files: Mapping[str, bytes]) -> HTML:
    """A player for each file, under its label."""
    cells = "".join(
        f"<tr><td>{label}</td><td>{Audio(data=data)._repr_html_()}</td></tr>"
        for label, data in files.items()
    )
    return HTML(f"<table>{cells}</table>")


def frames(samples: np.ndarray, mel: np.ndarray, filters: np.ndarray, title: str) -> Image.Image:
    """A sound's samples, and its frames below them.

    Args:
        samples: within ±1.
        mel: [frames, bands].
        filters: [bins, bands] from 0 to 8 kHz: what each band hears.
        title: of the figure.
    """
    figure, (above, below) = plt.subplots(
        2, figsize=(11, 5), layout="constrained", sharex=True, height_ratios=(1, 2.5)
    )
    seconds = len(mel) / _FRAMES_A_SECOND
    above.plot(np.linspace(0, seconds, len(samples)), samples, color=BLUE, linewidth=0.5)
    above.set_ylabel("sample")
    shown = _frames(below, mel)
    middles = np.argmax(filters, axis=0) * 8000 / (len(filters) - 1)
    below.set_yticks(np.interp(_TICKS, middles, np.arange(len(middles))), map(str, _TICKS))
    below.set_ylabel("hertz")
    below.set_xlabel("seconds")
    figure.colorbar(shown, ax=below, aspect=16, label="value")
    figure.suptitle(title, fontsize=11)
    return image(figure, 256)


def grid(rows: Sequence[Mapping[str, tuple[np.ndarray, str]]], title: str) -> Image.Image:
    """The frames of many sounds, and below each what was heard in it.

    Args:
        rows: label → frames [frames, bands], and a text.
        title: of the figure.
    """
    columns = max(map(len, rows))
    longest = max(len(mel) for row in rows for mel, _ in row.values())
    figure, panels = plt.subplots(
        len(rows), columns, figsize=(11, 1.4 * len(rows) + 0.4), layout="constrained", squeeze=False
    )
    for line, row in zip(panels, rows, strict=True):
        for axes, (label, (mel, text)) in zip(line, row.items(), strict=True):
            _frames(axes, mel)
            axes.set_xlim(0, longest / _FRAMES_A_SECOND)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(label, fontsize=9)
            axes.set_xlabel(text, fontsize=8, wrap=True)
    figure.suptitle(title, fontsize=11)
    return image(figure, 24)


def timeline(sentences: Sequence[Times], title: str) -> Image.Image:
    """When each sentence was written, spoken and played."""
    figure, axes = plt.subplots(figsize=(11, 0.75 * len(sentences) + 1.2), layout="constrained")
    rows = np.arange(len(sentences))
    for place, (label, colour) in enumerate(_BARS.items(), -1):
        begins, ends = np.array([getattr(each, label) for each in sentences]).T
        # What takes milliseconds is to be seen.
        widths = np.maximum(ends - begins, 0.03)
        axes.barh(rows + 0.27 * place, widths, 0.24, begins, color=colour, label=label)
    for row, each in enumerate(sentences):
        place = each.played[0], row + 0.27
        axes.text(*place, f" {each.text}", va="center", fontsize=8, color="white")
    axes.invert_yaxis()
    axes.set_yticks([])
    axes.set_xlabel("seconds")
    axes.legend(loc="upper right", frameon=False)
    figure.suptitle(title, fontsize=11)
    return image(figure)


def _frames(axes: Axes, mel: np.ndarray) -> object:
    return axes.imshow(
        mel.T,
        origin="lower",
        aspect="auto",
        cmap="cividis",
        extent=(0, len(mel) / _FRAMES_A_SECOND, -0.5, mel.shape[1] - 0.5),
    )

"""The figures of the notebooks, as images. Knows nothing of models.

Colours are told apart by everyone: Okabe and Ito's, and the map cividis.
"""

import io
import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from serve.offline import Choice, Token

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"
_MAP = plt.get_cmap("cividis")
_COLUMNS = 4
# Alternatives of a place that are shown.
_LISTED = 10
# Probabilities below it are drawn as it.
_FAINT = 1e-8


def rules(
    tokens: Sequence[str], before: np.ndarray, after: Mapping[str, np.ndarray], title: str
) -> Image.Image:
    """One panel for each setting: a distribution as it was, and what became of it.

    Args:
        tokens: their texts.
        before: their probabilities.
        after: name of a setting → the probabilities that are drawn from.
        title: of the figure.
    """
    figure, grid = _panels(math.ceil(len(after) / _COLUMNS), _COLUMNS, (11, 5))
    places = np.arange(len(tokens))
    for axes, (name, probabilities) in zip(grid.flat, after.items(), strict=True):
        axes.bar(places, probabilities, color=BLUE, label="what is drawn from")
        axes.stairs(
            before, np.arange(len(tokens) + 1) - 0.5, color="black", label="the model's own"
        )
        removed = places[probabilities == 0]
        axes.plot(removed, np.full(len(removed), 0.012), "x", color=ORANGE, label="removed")
        axes.set_title(name, fontsize=10)
        axes.set_xticks(places, tokens, rotation=90)
        axes.tick_params(axis="x", length=0)
    for axes in grid[:, 0]:
        axes.set_ylabel("probability")
    figure.suptitle(title, fontsize=11)
    handles, labels = grid[0, 2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return image(figure)


def sweeps(
    results: Mapping[str, Mapping[str, np.ndarray]],
    rows: Mapping[str, Sequence[str]],
    off: Mapping[str, str],
    subtitles: Mapping[str, str],
    title: str,
) -> Image.Image:
    """A grid: a column for each control, a row for each kind of measure.

    Shown are means over all texts, with the standard error of the means over the prompts.

    Args:
        results: control → value as text → array [prompts, texts, measures].
        rows: label of a row → the measures that it shows; together they name all measures.
        off: control → the value that changes nothing.
        subtitles: control → what else held.
        title: of the figure.
    """
    figure, grid = _panels(len(rows), len(results), (11, 7.2), sharey="row")
    for column, (control, by_value) in zip(grid.T, results.items(), strict=True):
        values = list(by_value)
        prompts = np.stack(list(by_value.values())).mean(axis=2)
        mean = prompts.mean(axis=1).T
        error = prompts.std(axis=1).T / math.sqrt(prompts.shape[1])
        measures = iter(zip(mean, error, strict=True))
        for axes, names in zip(column, rows.values(), strict=True):
            for name, color, marker in zip(names, (BLUE, ORANGE), "os", strict=False):
                _line(axes, *next(measures), color, marker, name)
            axes.axvline(values.index(off[control]), color=GREY, linestyle=":", zorder=0)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        column[0].set_title(control, fontsize=10, fontweight="bold", pad=18)
        middle = {"transform": column[0].transAxes, "ha": "center", "fontsize": 8}
        column[0].text(0.5, 1.06, subtitles[control], color="#444444", **middle)
        column[-1].set_xticks(range(len(values)), values, fontsize=8)
    for axes, (label, names) in zip(grid[:, 0], rows.items(), strict=True):
        axes.set_ylabel(label)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8, handlelength=1.2, borderpad=0)
    figure.align_ylabels(grid[:, 0])
    figure.suptitle(title, fontsize=11)
    return image(figure)


def token_maps(
    choices: Mapping[str, Choice], alternatives: int = 4, *, mark: bool = True
) -> Image.Image:
    """One band for each choice: its tokens coloured by probability, over the likeliest ones.

    Args:
        choices: title → a choice with log-probabilities. An orange frame marks the first token
            that is not the first choice's.
        alternatives: how many of the likeliest tokens to list.
        mark: whether there is such a frame.
    """
    longest = max(len(choice.tokens) for choice in choices.values())
    height = (0.2 * alternatives + 0.95) * len(choices) + 0.6
    figure, bands = plt.subplots(
        len(choices), figsize=(0.85 * longest + 0.4, height), layout="constrained", squeeze=False
    )
    first = next(iter(choices.values()))
    for axes, (title, choice) in zip(bands[:, 0], choices.items(), strict=True):
        axes.set(xlim=(0, longest), ylim=(alternatives + 2, 0))
        axes.axis("off")
        axes.set_title(title, loc="left", fontsize=10)
        for place, token in enumerate(choice.tokens):
            _column(axes, place, token, alternatives)
        parting = _parting(first, choice)
        if mark and parting is not None:
            axes.add_patch(_box(parting, fill=False, edgecolor=ORANGE, linewidth=2.5))
    bar = figure.colorbar(
        ScalarMappable(cmap=_MAP), ax=bands[:, 0], location="bottom", aspect=80, shrink=0.5
    )
    bar.set_label("probability that the model gives the token", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return image(figure)


def masks(places: Mapping[str, tuple[Token, np.ndarray]], title: str) -> Image.Image:
    """One panel for each place of an answer: its likeliest tokens, and which a mask removed.

    Args:
        places: title → the token that was drawn there, and for each id whether it was allowed.
        title: of the figure.
    """
    rows = math.ceil(len(places) / 2)
    figure, grid = _panels(rows, 2, (11, 3 * rows), sharex=False)
    for axes, (name, (drawn, allowed)) in zip(grid.flat, places.items(), strict=False):
        shown = [*drawn.alternatives[:_LISTED]]
        if drawn.id not in {token.id for token in shown}:
            shown.append(drawn)
        heights = np.array([math.exp(token.logprob or 0.0) for token in shown])
        kept = np.array([allowed[token.id] for token in shown])
        ticks = np.arange(len(shown))
        heights = np.maximum(heights, _FAINT)
        axes.bar(ticks[kept], heights[kept], color=BLUE, label="allowed")
        axes.bar(ticks[~kept], heights[~kept], color="#dddddd", label="removed by the mask")
        axes.plot(ticks[~kept], heights[~kept] * 1.9, "x", color=ORANGE, markersize=5)
        axes.set_title(name, fontsize=10)
        axes.set_yscale("log")
        axes.set_ylim(_FAINT / 2, 4)
        axes.set_xticks(ticks, [_shown(token, 9) for token in shown], rotation=60, ha="right")
        for tick, token in zip(axes.get_xticklabels(), shown, strict=True):
            tick.set_fontweight("bold" if token.id == drawn.id else "normal")
        axes.tick_params(axis="x", length=0)
    for axes in grid[:, 0]:
        axes.set_ylabel("model's probability")
    figure.suptitle(title, fontsize=11)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return image(figure)


def narrowing(tokens: Sequence[Token], counts: np.ndarray, size: int, title: str) -> Image.Image:
    """How much a mask leaves at each place of an answer.

    Args:
        tokens: that were drawn.
        counts: how many tokens were allowed at each place.
        size: of the vocabulary.
        title: of the figure.
    """
    figure, (above, below) = plt.subplots(
        2, figsize=(11, 4.4), layout="constrained", sharex=True, height_ratios=(3, 2)
    )
    places = np.arange(len(tokens))
    above.bar(places, counts, color=[BLUE if count > 1 else GREY for count in counts])
    above.axhline(size, color="black", linestyle=":", linewidth=1)
    above.text(len(tokens) - 0.5, size, "the whole vocabulary", va="bottom", ha="right", fontsize=8)
    above.set_yscale("log")
    above.set_ylim(0.7, size * 2.5)
    above.set_ylabel("tokens allowed")
    probabilities = [math.exp(token.logprob or 0.0) for token in tokens]
    below.bar(places, probabilities, color=ORANGE)
    below.set_ylim(0, 1)
    below.set_ylabel("model's probability\nof the token")
    below.set_xticks(places, [_shown(token, 9) for token in tokens], rotation=90)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.set_xlim(-0.7, len(tokens) - 0.3)
    figure.suptitle(title, fontsize=11)
    return image(figure)


def costs(rates: Mapping[str, Mapping[int, Sequence[float]]], title: str) -> Image.Image:
    """Throughput of kinds of answers, for numbers of answers at a time.

    Args:
        rates: kind → answers at a time → tokens a second, one for each round.
        title: of the figure.
    """
    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    width = 0.8 / len(rates)
    for number, (name, by_rows) in enumerate(rates.items()):
        places = np.arange(len(by_rows)) + (number - (len(rates) - 1) / 2) * width
        middle = np.array([np.median(rounds) for rounds in by_rows.values()])
        least = np.array([min(rounds) for rounds in by_rows.values()])
        most = np.array([max(rounds) for rounds in by_rows.values()])
        color = (GREY, BLUE, ORANGE)[number]
        axes.bar(places, middle, width * 0.94, color=color, label=name)
        axes.errorbar(
            places, middle, (middle - least, most - middle), fmt="none", color="black", capsize=3
        )
        for place, value, top in zip(places, middle, most, strict=True):
            axes.text(place, top, f"{value:,.0f}\n", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(by_rows)), [f"{rows} at a time" for rows in by_rows])
    axes.set_ylabel("tokens per second")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.legend(frameon=False, loc="upper left")
    axes.set_title(title, fontsize=11)
    return image(figure)


def _panels(
    rows: int,
    columns: int,
    size: tuple[float, float],
    sharey: bool | str = True,
    sharex: bool | str = "col",
) -> tuple[Figure, np.ndarray]:
    figure, grid = plt.subplots(
        rows, columns, figsize=size, layout="constrained", sharex=sharex, sharey=sharey
    )
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, grid


def _line(
    axes: Axes, mean: np.ndarray, error: np.ndarray, color: str, marker: str, name: str
) -> None:
    places = np.arange(len(mean))
    axes.fill_between(places, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
    axes.plot(places, mean, color=color, marker=marker, markersize=4, label=name)


def _column(axes: Axes, place: int, token: Token, alternatives: int) -> None:
    probability = math.exp(token.logprob or 0.0)
    # Black and white are equally far from the map's colour at about 0.45.
    ink = "white" if probability < 0.45 else "black"
    axes.add_patch(_box(place, color=_MAP(probability), linewidth=0))
    middle = {"color": ink, "ha": "center", "va": "center"}
    axes.text(place + 0.5, 0.5, _shown(token, 9), fontsize=9, weight="bold", **middle)
    axes.text(place + 0.5, 1.1, _percent(probability), fontsize=7, **middle)
    for row, other in enumerate(token.alternatives[:alternatives]):
        weight = "bold" if other.id == token.id else "normal"
        style = {"fontsize": 7, "va": "center", "weight": weight}
        axes.text(place + 0.05, row + 2, _shown(other, 7), ha="left", **style)
        share = _percent(math.exp(other.logprob or 0.0))
        axes.text(place + 0.95, row + 2, share, ha="right", **style)


def _box(place: int, **style: object) -> Rectangle:
    return Rectangle((place + 0.02, 0.04), 0.96, 1.4, **style)


def _shown(token: Token, width: int) -> str:
    """A token's text with spaces and line breaks made visible, cut where it is long."""
    text = token.text.replace(" ", "␣").replace("\n", "⏎").strip("<|>") or token.text
    return text if len(text) <= width else text[: width - 1] + "…"


def _percent(probability: float) -> str:
    return f"{probability:.0%}" if probability >= 0.005 else "<1%"


def _parting(one: Choice, other: Choice) -> int | None:
    """The first place where two choices have different tokens."""
    pairs = zip(one.tokens, other.tokens, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a.id != b.id), None)


def image(figure: Figure, colours: int = 64) -> Image.Image:
    """The figure in few colours, which look the same and take a third of the room."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return Image.open(buffer).convert("RGB").quantize(colours, dither=Image.Dither.NONE)

"""The figures of what a model sees, as images. Knows nothing of models.

A map has a value for each token of a picture, which stands for a square of patches.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from figures import ORANGE, image
from matplotlib.axes import Axes
from PIL import Image

_INK = "#222222"


def whole(patches: np.ndarray, grid: tuple[int, int], merge: int = 2) -> np.ndarray:
    """The picture [height, width, 3] that patches in Qwen3-VL's order were cut from."""
    rows, columns = grid
    side = math.isqrt(patches.shape[1] // 6)
    blocks = patches.reshape(rows // merge, columns // merge, merge, merge, 3, 2, side, side)
    pixels = blocks[:, :, :, :, :, 0].transpose(0, 2, 5, 1, 3, 6, 4)
    return pixels.reshape(rows * side, columns * side, 3)


def patches(
    given: np.ndarray, looked: np.ndarray, grid: tuple[int, int], title: str
) -> Image.Image:
    """A picture as it was given, as it is cut, and its patches in their order.

    Args:
        given: the picture's pixels.
        looked: patches [T, X] as the tower takes them.
        grid: rows and columns of them.
        title: of the figure.
    """
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(11, 4), layout="constrained", width_ratios=(1, 1, 1.6)
    )
    cut = whole(looked, grid)
    side = cut.shape[0] // grid[0]
    left.imshow(given)
    left.set_title(f"given: {given.shape[1]} × {given.shape[0]} pixels", fontsize=10)
    middle.imshow(cut)
    for axis, count in ((middle.axhline, grid[0]), (middle.axvline, grid[1])):
        for line in range(count + 1):
            axis(line * side - 0.5, color=ORANGE, linewidth=2 if line % 2 == 0 else 0.6)
    middle.set_title(f"resized and cut: {grid[1]} × {grid[0]} patches", fontsize=10)
    tokens = len(looked) // 4
    columns = math.ceil(math.sqrt(2 * tokens))
    for token in range(tokens):
        row, column = divmod(token, columns)
        for place in range(4):
            inner_row, inner_column = divmod(place, 2)
            pixels = looked[4 * token + place].reshape(3, 2, side, side)[:, 0].transpose(1, 2, 0)
            x, y = 2.7 * column + 1.08 * inner_column, 3.3 * row + 1.08 * inner_row
            right.imshow(pixels, extent=(x, x + 1, y + 1, y))
        right.text(2.7 * column + 1.04, 3.3 * row - 0.1, str(token), ha="center", fontsize=8)
    right.set_xlim(-0.3, 2.7 * columns)
    right.set_ylim(3.3 * math.ceil(tokens / columns) - 0.6, -1)
    right.set_aspect("equal")
    right.set_title(f"as the tower takes them: four become a token, {tokens} in all", fontsize=10)
    for axes in (left, middle, right):
        axes.axis("off")
    figure.suptitle(title, fontsize=11)
    return image(figure, 256)


def components(pixels: np.ndarray, maps: Mapping[str, np.ndarray], title: str) -> Image.Image:
    """A picture, and over it a map for each of some directions.

    Args:
        pixels: the picture as the model is given it.
        maps: label → values [rows, columns] of its tokens; their colours are about zero.
        title: of the figure.
    """
    figure, row = plt.subplots(1, len(maps) + 1, figsize=(11, 3.4), layout="constrained")
    row[0].imshow(pixels)
    row[0].set_title("the picture", fontsize=10)
    row[0].axis("off")
    for axes, (label, values) in zip(row[1:], maps.items(), strict=True):
        most = np.abs(values).max()
        shown = _over(axes, pixels, values, cmap="PuOr", vmin=-most, vmax=most, alpha=0.75)
        axes.set_title(label, fontsize=10)
        bar = figure.colorbar(shown, ax=axes, location="bottom", shrink=0.9, aspect=24)
        bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11)
    return image(figure, 256)


def looks(
    pixels: np.ndarray, words: Sequence[str], rows: Mapping[str, np.ndarray], title: str
) -> Image.Image:
    """Where each word of an answer looks in a picture.

    Args:
        pixels: the picture as the model is given it.
        words: of the answer.
        rows: label → [words, rows, columns] shares of attention.
        title: of the figure.
    """
    figure, grid = plt.subplots(
        len(rows),
        len(words),
        figsize=(11, 11 / len(words) * len(rows) * pixels.shape[0] / pixels.shape[1] + 1.4),
        layout="constrained",
        squeeze=False,
    )
    most = max(float(each.max()) for each in rows.values())
    for axes, word in zip(grid[0], words, strict=True):
        axes.set_title(word, fontsize=11, fontweight="bold")
    for line, (label, each) in zip(grid, rows.items(), strict=True):
        for axes, values in zip(line, each, strict=True):
            shown = _over(axes, pixels, values, cmap="cividis", vmin=0, vmax=most, alpha=0.8)
            axes.text(
                0.97,
                0.04,
                f"{values.sum():.0%}",
                transform=axes.transAxes,
                ha="right",
                fontsize=8,
                color="white",
                bbox={"facecolor": _INK, "linewidth": 0, "pad": 1.5},
            )
        line[0].text(
            -0.08,
            0.5,
            label,
            transform=line[0].transAxes,
            rotation=90,
            va="center",
            ha="right",
            fontsize=10,
        )
    bar = figure.colorbar(shown, ax=grid, location="bottom", aspect=60, shrink=0.5)
    bar.set_label("share of the word's attention on a token of the picture", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11)
    return image(figure, 256)


def _over(axes: Axes, pixels: np.ndarray, values: np.ndarray, **style: object) -> object:
    """A map over a picture that is drawn in greys, with what is brighter still to be seen."""
    axes.imshow(pixels.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    height, width = pixels.shape[:2]
    shown = axes.imshow(values, extent=(-0.5, width - 0.5, height - 0.5, -0.5), **style)
    axes.contour(_edges(pixels), levels=[0.5], colors="white", linewidths=0.8)
    axes.axis("off")
    return shown


def _edges(pixels: np.ndarray) -> np.ndarray:
    """1 where a pixel has a colour, 0 where it is grey."""
    wide = pixels.astype(int)
    return ((wide.max(axis=-1) - wide.min(axis=-1)) > 60).astype(float)

"""Draw the logs of training runs: the loss, and the held-out loss and accuracy, by step.

    python -m tools.plot_training runs/bundled/log.jsonl docs/images/bundled_training.png

Each run is taken to start where the one before it ended.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
from matplotlib.figure import Figure

SIZE = (8.0, 3.2)
DPI = 110


def read(logs: Sequence[Path]) -> list[dict[str, Any]]:
    """The lines of the logs, with steps counted from the first run's start."""
    found: list[dict[str, Any]] = []
    before = 0
    for log in logs:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found += [{**line, "step": before + line["step"]} for line in lines]
        before = max((line["step"] for line in found), default=0)
    return found


def draw(lines: list[dict[str, Any]]) -> Figure:
    """The picture of a log's lines."""
    steps = [line for line in lines if "loss" in line]
    looks = [line for line in lines if "held_out" in line]
    figure = Figure(SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([line["step"] for line in steps], [line["loss"] for line in steps], lw=0.8)
    at = [line["step"] for line in looks]
    left.plot(at, [line["held_out"]["loss"] for line in looks], "o-", ms=3)
    left.set(yscale="log", xlabel="step", ylabel="loss per answer token")
    left.legend(["training", "held out"])
    accuracies = [sorted(line["held_out"]["accuracy"].values()) for line in looks]
    right.plot(at, [sum(values) / len(values) for values in accuracies], "o-", ms=3)
    right.plot(at, [values[0] for values in accuracies], "o-", ms=3)
    right.set(ylim=(0, 1.02), xlabel="step", ylabel="held-out answers that are exact")
    right.legend(["mean of the skills", "worst skill"])
    return figure


@click.command()
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.argument("picture", type=click.Path(path_type=Path))
def main(logs: Sequence[Path], picture: Path) -> None:
    """Draw LOGS, the log.jsonl of runs that follow each other, to PICTURE."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"font.size": 9}):
        draw(read(logs)).savefig(picture, dpi=DPI)


if __name__ == "__main__":
    main()

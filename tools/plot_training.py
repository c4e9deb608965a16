"""Draw the log of a training run: the loss, and the held-out loss and accuracy, by step.

python -m tools.plot_training runs/bundled/log.jsonl docs/images/bundled_training.png
"""

import json
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
from matplotlib.figure import Figure

SIZE = (8.0, 3.2)
DPI = 110


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
@click.argument("log", type=click.Path(path_type=Path, exists=True))
@click.argument("picture", type=click.Path(path_type=Path))
def main(log: Path, picture: Path) -> None:
    """Draw LOG, a training run's log.jsonl, to PICTURE."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    picture.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"font.size": 9}):
        draw(lines).savefig(picture, dpi=DPI)


if __name__ == "__main__":
    main()

import json
from pathlib import Path

from click.testing import CliRunner
from PIL import Image

from tools.plot_training import draw, main, read

LINES = [
    {"step": 10, "loss": 5.0},
    {"step": 20, "loss": 4.0},
    {"step": 20, "held_out": {"loss": 4.5, "accuracy": {"facts": 0.2, "lists": 0.6}}},
]


def test_a_log_is_drawn() -> None:
    left, right = draw(LINES).axes
    training, held_out = left.lines
    assert training.get_xydata().tolist() == [[10, 5], [20, 4]]
    assert held_out.get_xydata().tolist() == [[20, 4.5]]
    mean, worst = right.lines
    assert mean.get_ydata().tolist() == [0.4]
    assert worst.get_ydata().tolist() == [0.2]


def test_a_run_follows_the_one_before_it(tmp_path: Path) -> None:
    logs = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for log in logs:
        log.write_text("\n".join(json.dumps(line) for line in LINES))
    assert [line["step"] for line in read(logs)] == [10, 20, 20, 30, 40, 40]


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    log, picture = tmp_path / "log.jsonl", tmp_path / "images" / "curve.png"
    log.write_text("\n".join(json.dumps(line) for line in LINES))
    result = CliRunner().invoke(main, [str(log), str(picture)])
    assert result.exit_code == 0, result.output
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.width > 500

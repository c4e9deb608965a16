"""The checkpoint that benchmarks ask about pictures."""

from pathlib import Path

from click.testing import CliRunner

from model.loading import load_tokenizer, open_model
from model.vision.loading import open_tower
from serve.sight import sight_of
from tools.make_seeing_checkpoint import main


def test_it_is_read_as_it_would_be_published(tmp_path: Path) -> None:
    target = tmp_path / "seeing"
    sizes = ("--layers", "2", "--embed", "192", "--tower-layers", "2", "--tower-embed", "64")
    done = CliRunner().invoke(main, [str(target), *sizes, "--vocab", "1600"])
    assert done.exit_code == 0, done.output
    opened = open_model(target, "", "float32")
    tower = open_tower(target, opened.mesh, "float32")
    assert tower is not None
    tokenizer = load_tokenizer(target, opened.config)
    sight = sight_of(tower.config, target, tokenizer)
    assert sight is not None
    assert tokenizer.controls[sight.form.token] == tower.config.image_token == 1599
    again = CliRunner().invoke(main, [str(target), *sizes])
    assert "holds a checkpoint already" in again.output

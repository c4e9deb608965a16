import pytest

from model.config import CheckpointError
from model.generation_config import read_generation_config, recommended_sampling


def test_a_directory_without_the_file(tmp_path):
    assert read_generation_config(tmp_path) == {}
    assert recommended_sampling({}) == {}


def test_a_broken_file(tmp_path):
    (tmp_path / "generation_config.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"generation_config\.json is not valid JSON"):
        read_generation_config(tmp_path)


@pytest.mark.parametrize(
    ("written", "recommended"),
    [
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "max_length": 9},
            {"temperature": 0.6, "top_p": 0.95, "top_k": 20},
        ),
        ({"temperature": None, "top_k": -1}, {"top_k": 0}),
        (
            {"do_sample": False, "temperature": 0.6, "repetition_penalty": 1.1},
            {"temperature": 0.0, "repetition_penalty": 1.1},
        ),
        ({"do_sample": False}, {"temperature": 0.0}),
    ],
)
def test_what_is_recommended(written, recommended):
    assert recommended_sampling(written) == recommended

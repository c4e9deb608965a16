"""A voice of Piper's form, tiny and without art: its sound tells what the model was given.

`onnx` makes it. Each number of the input is 320 samples at length 1, all of them the number, plus
ten for each speaker, plus both scales of noise.
"""

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

RATE = 16_000
SAMPLES_EACH = 320

IDS = {"_": [0], "^": [1], "$": [2], " ": [3], ",": [4], ".": [5], "h": [6], "a": [7], "ˈ": [8]}


def write_voice(directory: Path, name: str = "tiny", speakers: int = 1, **changed: object) -> Path:
    """Writes `tiny.onnx` and `tiny.onnx.json`; returns the first one's path."""
    path = directory / f"{name}.onnx"
    onnx.save(_model(speakers), path)
    config = {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "espeak",
        "inference": {"noise_scale": 0.25, "length_scale": 1.0, "noise_w": 0.125},
        "phoneme_id_map": IDS,
        "num_speakers": speakers,
        "speaker_id_map": {f"p{number}": number for number in range(speakers)},
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(config | changed))
    return path


def _model(speakers: int) -> onnx.ModelProto:
    values = [
        ("one", TensorProto.INT64, [1], [1]),
        ("first", TensorProto.INT64, [1], [0]),
        ("second", TensorProto.INT64, [1], [1]),
        ("third", TensorProto.INT64, [1], [2]),
        ("each", TensorProto.FLOAT, [1], [float(SAMPLES_EACH)]),
        ("column", TensorProto.INT64, [2], [-1, 1]),
        ("shape", TensorProto.INT64, [4], [1, 1, 1, -1]),
        ("ten", TensorProto.FLOAT, [1], [10.0]),
    ]
    constants = [helper.make_tensor(*each) for each in values]
    node = helper.make_node
    nodes = [
        node("Cast", ["input"], ["numbers"], to=TensorProto.FLOAT),
        node("Gather", ["scales", "first"], ["noise"]),
        node("Gather", ["scales", "second"], ["length"]),
        node("Gather", ["scales", "third"], ["length_noise"]),
        node("Mul", ["length", "each"], ["samples"]),
        node("Cast", ["samples"], ["count"], to=TensorProto.INT64),
        node("Reshape", ["numbers", "column"], ["in_rows"]),
        node("Concat", ["one", "count"], ["rows_and_count"], axis=0),
        node("Expand", ["in_rows", "rows_and_count"], ["sounding"]),
        node("Reshape", ["sounding", "shape"], ["sound"]),
        node("Add", ["noise", "length_noise"], ["noises"]),
        node("Add", ["sound", "noises"], ["output" if speakers == 1 else "alike"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "numbers"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
        nodes += [
            node("Cast", ["sid"], ["speaker"], to=TensorProto.FLOAT),
            node("Mul", ["speaker", "ten"], ["higher"]),
            node("Add", ["alike", "higher"], ["output"]),
        ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "samples"])
    graph = helper.make_graph(nodes, "voice", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

"""Prefill and decode step times of PyTorch transformers, for `bench_step` to stand beside.

    python -m tools.transformers_steps '{"layers": 12, …}'

Runs in a process of its own, for JAX and PyTorch would both claim the device's memory, and
imports nothing of this project: PyTorch and transformers may live in another environment. A
random Llama of the given shape, its default attention, eager. Prints one JSON object.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers


def median_seconds(run: Callable[[], Any], device: str, repeats: int) -> float:
    """Median time of `run` on the device, after one warm-up."""
    times: list[float] = []
    for turn in range(repeats + 1):
        began = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        if turn:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(shape: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of the steps, by rows and by prompt length, with the versions that ran.

    Args:
        shape: `bench_step`'s options of the same names.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = transformers.LlamaConfig(
        vocab_size=shape["vocab"],
        hidden_size=shape["embed"],
        intermediate_size=shape["ffn"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        head_dim=shape["head_dim"],
        max_position_embeddings=shape["context"],
        tie_word_embeddings=shape["tied"],
    )
    dtype = shape["dtype"]
    if dtype == "auto":
        dtype = "bfloat16" if device == "cuda" else "float32"
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device(device):
        model = transformers.LlamaForCausalLM(config).eval()

    def tokens(rows: int, length: int) -> torch.Tensor:
        return torch.randint(0, shape["vocab"], (rows, length), device=device)

    decode: dict[int, float] = {}
    for rows in shape["rows"]:
        cache = transformers.DynamicCache()
        model(tokens(rows, shape["visible"] - 1), past_key_values=cache, logits_to_keep=1)
        token = tokens(rows, 1)

        def step(token: torch.Tensor = token, cache: transformers.DynamicCache = cache) -> None:
            model(token, past_key_values=cache)
            # Back to where it was: every timed step sees as many keys.
            cache.crop(-1)

        decode[rows] = median_seconds(step, device, shape["repeats"])
    prefill: dict[int, float] = {}
    for length in shape["prefill"]:
        prompt = tokens(1, length)
        prefill[length] = median_seconds(
            lambda prompt=prompt: model(prompt, logits_to_keep=1), device, shape["repeats"]
        )
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "decode_ms": {str(rows): 1e3 * seconds for rows, seconds in decode.items()},
        "prefill_ms": {str(length): 1e3 * seconds for length, seconds in prefill.items()},
    }


if __name__ == "__main__":
    with torch.inference_mode():
        print(json.dumps(measure(json.loads(sys.argv[1]))))

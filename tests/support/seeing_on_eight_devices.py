"""Engines that see on eight CPU devices, held to the reference library's answers.

    python -m support.seeing_on_eight_devices FIXTURE

Runs in a process of its own, for the number of devices is settled when JAX starts. Fails with an
assertion.
"""

import queue
import sys
from dataclasses import replace

from support.prompts_seen import SeenPrompt, seen_prompt
from support.towers import FIXTURES, load_tower

from model.loading import load_model
from model.mesh import make_mesh, parse_mesh
from sampling.params import SamplingParams
from serve.engine.config import EngineConfig
from serve.engine.engine import Engine
from serve.engine.runner import Runner
from serve.engine.types import EngineInfo, GenerationRequest

MESH, CONTEXT, TOKENS = "data=2,model=4", 96, 12


def engine_on_eight(fixture: str) -> Engine:
    model = load_model(FIXTURES / fixture, make_mesh(*parse_mesh(MESH)), "float32")
    tower = load_tower(fixture, MESH)
    config = EngineConfig(
        CONTEXT,
        2 * CONTEXT,
        max_rows=2,
        page_size=8,
        prefill_chunk=16,
        least_rows=2,
        image_vectors=CONTEXT,
        whole_image=tower.config.most_tokens if tower.config.sees_ahead else 0,
    )
    info = EngineInfo(CONTEXT, model.config.vocab_size, "fp_test", vision=tower.config)
    return Engine(Runner(model, config, tower=tower), config, info)


def answer(engine: Engine, told: queue.SimpleQueue, prompt: SeenPrompt) -> list[int]:
    plain = GenerationRequest("r", prompt.tokens, SamplingParams(temperature=0.0), TOKENS)
    engine.submit(replace(plain, images=prompt.images))
    found: list[int] = []
    while len(found) < TOKENS:
        found += [delivery.event.token for delivery in told.get(timeout=200)]
    return found


def main(fixture: str) -> None:
    engine, told = engine_on_eight(fixture), queue.SimpleQueue()
    engine.start(told.put, lambda report: None, lambda *_: None)
    for name in ("several", "one"):
        prompt = seen_prompt(fixture, name)
        assert answer(engine, told, prompt) == prompt.greedy[:TOKENS]
    engine.stop()
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1])

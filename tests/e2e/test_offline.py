"""The offline model answers as the server does."""

import os

import httpx

from sampling.params import SamplingParams
from serve.offline import LocalModel

MODEL = "parlance-bundled"
QUESTIONS = ["Hello", "Reverse the word planet", "Tell me about the sun"]
SETTINGS = {
    "temperature": 1.6,
    "top_p": 0.97,
    "top_k": 300,
    "min_p": 0.001,
    "frequency_penalty": 0.4,
    "presence_penalty": 0.2,
    "min_tokens": 3,
}


def test_equal_fingerprints_and_seeds_give_equal_answers(deterministic_server):
    conversations = [[{"role": "user", "content": question}] for question in QUESTIONS]
    seeds = range(70, 70 + len(QUESTIONS))
    params = [SamplingParams(seed=seed, logprobs=True, **SETTINGS) for seed in seeds]
    # The mesh that the environment gives to the server as its flag.
    mesh = os.environ.get("PARLANCE_MESH", "")
    with LocalModel.load(rows=16, mesh=mesh, compile_cache=None) as model:
        answers = model.generate(conversations, params, n=3, max_tokens=30, stop="z")
        fingerprint = model.info.fingerprint

    with httpx.Client(base_url=deterministic_server.url, timeout=120) as http:
        for conversation, seed, answer in zip(conversations, seeds, answers, strict=True):
            fields = {"seed": seed, "n": 3, "max_tokens": 30, "stop": "z", "logprobs": True}
            asked = {"model": MODEL, "messages": conversation, **fields, **SETTINGS}
            response = http.post("/chat/completions", json=asked)
            served = response.json()
            assert response.status_code == 200, response.text
            assert served["system_fingerprint"] == fingerprint
            assert served["usage"]["prompt_tokens"] == len(answer.prompt)
            for there, here in zip(served["choices"], answer.choices, strict=True):
                assert there["message"]["content"] == here.text
                assert there["finish_reason"] == here.finish_reason
                entries = there["logprobs"]["content"]
                for entry, token in zip(entries, here.tokens, strict=True):
                    assert entry["token"] == token.text
                    if token.id in {other.id for other in token.alternatives}:
                        assert entry["logprob"] == token.logprob

"""llama.cpp's server, as a reference that shares no code with us: package xllamacpp."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gguf
import httpx
import numpy as np

SECONDS = 600.0
_ALTERNATIVES = 20


class Place(NamedTuple):
    """A token of an answer.

    Attributes:
        id: its number in the vocabulary.
        logprobs: of the likeliest tokens at its place; None of one that is a part of a character,
            for which llama.cpp tells none.
    """

    id: int
    logprobs: dict[int, float] | None


@dataclass(frozen=True)
class LlamaCpp:
    """A running server."""

    client: httpx.Client

    def prompt(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The tokens of a conversation, up to where the answer begins."""
        text = self._post("/apply-template", messages=messages)["prompt"]
        return self.tokens(text)

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text with control tokens in it, and what stands before any text."""
        return self._post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]

    def greedy(self, prompt: Sequence[int], length: int) -> list[Place]:
        """The likeliest answer."""
        answer = self._post(
            "/completion",
            prompt=list(prompt),
            n_predict=length,
            temperature=0,
            n_probs=_ALTERNATIVES,
            return_tokens=True,
            cache_prompt=False,
        )
        told = iter(answer["completion_probabilities"])
        following = next(told, None)
        places = []
        for token in answer["tokens"]:
            if following is None or following["id"] != token:
                places.append(Place(token, None))
                continue
            logprobs = {each["id"]: each["logprob"] for each in following["top_logprobs"]}
            places.append(Place(token, logprobs))
            following = next(told, None)
        assert following is None
        return places

    def _post(self, route: str, **body: object) -> dict:
        answer = self.client.post(route, json=body)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def llama_cpp(file: Path) -> Iterator[LlamaCpp]:
    """A server of a GGUF file, which computes and keeps all in float32."""
    with subprocess.Popen(
        [sys.executable, "-m", "support.llama_cpp", str(file)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        killer = threading.Timer(SECONDS, process.kill)
        killer.start()
        try:
            assert process.stdout is not None
            url = next((line for line in process.stdout if line.startswith("http")), None)
            assert url is not None, "llama.cpp did not start"
            with httpx.Client(base_url=url.strip(), timeout=SECONDS) as client:
                yield LlamaCpp(client)
        finally:
            killer.cancel()
            process.kill()


def expanded(source: Path, target: Path) -> Path:
    """The same model with its numbers in float32: llama.cpp rounds what meets others to 8 bits."""
    reader = gguf.GGUFReader(source)
    fields = reader.fields
    writer = gguf.GGUFWriter(target, fields["general.architecture"].contents())
    for name, field in fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = int(gguf.LlamaFileType.ALL_F32) if name == "general.file_type" else field.contents()
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, field.types[0])
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _serve(file: str) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = file
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_parallel = 1
    parameters.n_ctx = 2048
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 2
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    disabled = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.flash_attn_type = disabled
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    # Until whoever started it is gone.
    sys.stdin.read()
    del server


if __name__ == "__main__":
    _serve(sys.argv[1])

"""What a step's plan asks of the device: compiled programs, and the host's arrays for each.

Turns plans into NumPy arrays of the shapes that programs are compiled for. Calls are plain
data: with several hosts each runs the same ones, in the same order. Knows nothing of devices.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt32

from sampling.batch import (
    Choice,
    bias_of,
    has_penalty,
    mask_words,
    repeats,
    row_settings,
    sampled_chunks,
    token_bits,
)
from serve.engine.config import EngineConfig, bucket
from serve.engine.plan import DecodeRow, Fork, Mask, PrefillChunk, StepPlan, Telling
from serve.engine.sequence import Sequence

LOAD_WIDTH = 8
# Places of a prompt that one call tells of: more would have too many logits at the same time.
PLACES = 64


class Call(NamedTuple):
    """One program to run.

    Attributes:
        program: its name.
        size: the bucket that it is compiled for.
        inputs: what it takes beside what the device has.
    """

    program: str
    size: int
    inputs: tuple[Any, ...]


class Draw(NamedTuple):
    """One sampling call.

    Attributes:
        source: which of the step's forward calls made the logits.
        size: how many rows are drawn; a single row of logits is spread over all of them.
        where: slots and positions, as `sample` takes them.
        logprobs: whether log-probabilities are wanted.
    """

    source: int
    size: int
    where: Int[np.ndarray, "2 B"]
    logprobs: bool


class Forward(NamedTuple):
    """The first part of a step: everything up to logits."""

    calls: list[Call]


class Drawing(NamedTuple):
    """The second part of a step: what the rows may sample, and the draws."""

    masks: list[Call]
    draws: list[Draw]


class CallMaker:
    """Makes the calls of plans.

    Args:
        config: the engine's settings.
        vocab_size: ids are below this.
        table_width: pages that a row's table has room for.
    """

    def __init__(self, config: EngineConfig, vocab_size: int, table_width: int) -> None:
        self._config = config
        self._vocab_size = vocab_size
        self._table_width = table_width

    def forward(self, plan: StepPlan) -> tuple[Forward, list[tuple[Draw, list[Sequence]]]]:
        """The calls up to the logits, in the order that `StepPlan` lists them.

        Returns:
            The calls; and the draws from their logits, each with the sequences that it is for.
        """
        calls: list[Call] = []
        draws: list[tuple[Draw, list[Sequence]]] = []
        for start in range(0, len(plan.loads), LOAD_WIDTH):
            calls += self._loads(plan.loads[start : start + LOAD_WIDTH])
        # Prompts first, so that forks can copy their pages before anyone samples.
        for chunk in plan.prefill:
            if chunk.sampling:
                draws.append((self._prompt_draw(len(calls), chunk), chunk.sampling))
            calls.append(self._prefill(chunk))
            if chunk.telling is not None:
                calls += self._telling(chunk.telling)
        for start in range(0, len(plan.forks), LOAD_WIDTH):
            calls.append(self._fork(plan.forks[start : start + LOAD_WIDTH]))
        if plan.decode:
            call = self._decode(plan.decode)
            where = call.inputs[0][:2] + np.array([[0], [1]], np.int32)
            sequences = [row.sequence for row in plan.decode]
            draws.append((Draw(len(calls), call.size, where, _asks(sequences)), sequences))
            calls.append(call)
        return Forward(calls), draws

    def masks(self, masks: list[Mask]) -> list[Call]:
        """The calls that put masks into their slots."""
        calls: list[Call] = []
        for start in range(0, len(masks), LOAD_WIDTH):
            slots, allowed = self._no_slots(), self._no_bits()
            for row, mask in enumerate(masks[start : start + LOAD_WIDTH]):
                slots[row], allowed[row] = mask.slot, mask.allowed
            calls.append(Call("load_masks", LOAD_WIDTH, (slots, allowed)))
        return calls

    def _no_bits(self) -> UInt32[np.ndarray, "b W"]:
        """A bit per token for each slot of one call, none of them set."""
        return np.zeros((LOAD_WIDTH, mask_words(self._vocab_size)), np.uint32)

    def _no_slots(self) -> Int[np.ndarray, " b"]:
        return np.full(LOAD_WIDTH, self._config.max_rows, np.int32)

    def _loads(self, sequences: list[Sequence]) -> list[Call]:
        """Put the settings of sequences into their slots, and what they have sampled before."""
        requests = [sequence.request for sequence in sequences]
        settings = row_settings(
            [
                Choice(
                    each.sampling,
                    sequence.choice,
                    sequence.prompt_length,
                    each.end_ids,
                    each.constraint is not None,
                )
                for sequence, each in zip(sequences, requests, strict=True)
            ],
            LOAD_WIDTH,
            self._config.end_ids,
        )
        slots = self._no_slots()
        slots[: len(sequences)] = [sequence.slot for sequence in sequences]
        calls = [Call("load", LOAD_WIDTH, (slots, settings))]
        if any(each.sampling.logit_bias for each in requests):
            bias = bias_of([each.sampling for each in requests], LOAD_WIDTH)
            calls.append(Call("load_bias", LOAD_WIDTH, (slots, bias)))
        if any(repeats(each.sampling) for each in requests):
            prompts = self._no_bits()
            for row, each in enumerate(requests):
                prompts[row] = token_bits(each.prompt, self._vocab_size)
            calls.append(Call("load_prompts", LOAD_WIDTH, (slots, prompts)))
        counted = [
            (sequence.slot, sequence.tokens[sequence.prompt_length :])
            for sequence in sequences
            if has_penalty(sequence.request.sampling)
        ]
        chunks = sampled_chunks(counted, LOAD_WIDTH) if counted else []
        return calls + [Call("recount", LOAD_WIDTH, (chunk,)) for chunk in chunks]

    def _prefill(self, chunk: PrefillChunk) -> Call:
        length = bucket(len(chunk.tokens), self._config.prefill_buckets)
        tokens = np.zeros((1, length), np.int32)
        tokens[0, : len(chunk.tokens)] = chunk.tokens
        rows = np.array([[chunk.slot], [chunk.start], [len(chunk.tokens)]], np.int32)
        return Call("prefill", length, (tokens, rows, self._tables([chunk.table], 1)))

    def _telling(self, telling: Telling) -> list[Call]:
        """The calls that tell of a prompt, which come right after the `prefill` of its chunk."""
        parts = -(-len(telling.tokens) // PLACES)
        tokens = np.zeros((parts, PLACES), np.int32)
        tokens.flat[: len(telling.tokens)] = telling.tokens
        return [Call("prompt_logprobs", PLACES, (part, tokens[part])) for part in range(parts)]

    def _fork(self, forks: list[Fork]) -> Call:
        rows = np.zeros((3, LOAD_WIDTH), np.int32)
        rows[0], rows[2] = self._config.max_rows, self._config.num_pages
        for index, new in enumerate(forks):
            copies = new.source >= 0
            rows[0, index] = new.slot
            rows[1, index] = new.source if copies else 0
            rows[2, index] = new.target if copies else self._config.num_pages
        tables = self._tables([new.table for new in forks], LOAD_WIDTH)
        return Call("fork", LOAD_WIDTH, (rows, tables))

    def _tables(self, pages: list[list[int]], rows: int) -> Int[np.ndarray, "rows M"]:
        tables = np.zeros((rows, self._table_width), np.int32)
        for row, numbers in enumerate(pages):
            tables[row, : len(numbers)] = numbers
        return tables

    def _prompt_draw(self, source: int, chunk: PrefillChunk) -> Draw:
        """The first token of every choice that starts from this prompt."""
        size = bucket(len(chunk.sampling), self._config.row_buckets)
        where = np.full((2, size), self._config.max_rows, np.int32)
        where[0, : len(chunk.sampling)] = [sequence.slot for sequence in chunk.sampling]
        where[1] = chunk.start + len(chunk.tokens)
        return Draw(source, size, where, _asks(chunk.sampling))

    def _decode(self, rows: list[DecodeRow]) -> Call:
        size = bucket(len(rows), self._config.row_buckets)
        inputs = np.zeros((3, size), np.int32)
        inputs[0], inputs[1] = self._config.max_rows, -1
        inputs[:, : len(rows)] = np.array(
            [(row.sequence.slot, row.position, row.page) for row in rows], np.int32
        ).T
        return Call("decode", size, (inputs,))


def _asks(sequences: list[Sequence]) -> bool:
    return any(sequence.request.sampling.logprobs for sequence in sequences)

"""What a step's plan asks of the device: compiled programs, and the host's arrays for each.

Turns plans into NumPy arrays of the shapes that programs are compiled for. Calls are plain
data: with several hosts each runs the same ones, in the same order. Knows nothing of devices.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int, UInt32

from model.steps import LAST, RowTokens, step_inputs
from model.vision import inputs as tower
from model.vision.config import AnyVisionConfig, Qwen3VLVisionConfig
from model.vision.positions import behind, ends, turns
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
from serve.engine.images import Look
from serve.engine.plan import Mask, Pass, Place, Seat, StepPlan, Telling
from serve.engine.sequence import Sequence

LOAD_WIDTH = 8
_Item = TypeVar("_Item")
# Places of prompts that one call tells of: more would have too many logits at the same time.
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
        source: which of the step's passes it is of: the first so many vectors that that picked.
        size: how many tokens are drawn.
        where: slots and positions, as `sample` takes them.
        drafts: the drafts before each, as `sample` takes them.
        logprobs: whether log-probabilities are wanted.
    """

    source: int
    size: int
    where: Int[np.ndarray, "2 B"]
    drafts: Int[np.ndarray, "2 B"]
    logprobs: bool


class Forward(NamedTuple):
    """The first part of a step: everything up to hidden vectors."""

    calls: list[Call]


class Drawing(NamedTuple):
    """The second part of a step: draws, each after the masks of its tokens."""

    masks: list[list[Call]]
    draws: list[Draw]


class Told(NamedTuple):
    """What is told of a prompt, and where it comes from.

    Attributes:
        telling: what it is.
        places: which calls of the step that tell something, and which of each one's places.
    """

    telling: Telling
    places: list[tuple[int, slice]]


class StepCalls(NamedTuple):
    """What a step takes, and whose results are whose.

    Attributes:
        forward: the calls up to hidden vectors.
        draws: from these, each with the sequences of its tokens.
        told: of prompts.
    """

    forward: Forward
    draws: list[tuple[Draw, list[Sequence]]]
    told: list[Told]


class CallMaker:
    """Makes the calls of plans.

    Args:
        config: the engine's settings.
        vocab_size: ids are below this.
        table_width: pages that a row's table has room for.
        adapters: whether rows may have some.
        vision: the tower's shape; None for a model that does not see.
    """

    def __init__(
        self,
        config: EngineConfig,
        vocab_size: int,
        table_width: int,
        *,
        adapters: bool = False,
        vision: AnyVisionConfig | None = None,
    ) -> None:
        self._config = config
        self._vision = vision
        self._has_adapters = adapters
        self._vocab_size = vocab_size
        self._table_width = table_width

    def step(self, plan: StepPlan) -> StepCalls:
        """The calls of a step, in the order that `StepPlan` lists them."""
        calls: list[Call] = []
        draws: list[tuple[Draw, list[Sequence]]] = []
        told: list[Told] = []
        telling_calls = 0
        if plan.looks and self._vision is not None:
            calls += self._looks(plan.looks, self._vision)
        for part in _parts(plan.loads):
            calls += self._loads(part)
        for part in _parts(plan.seats):
            calls.append(self._seat(part))
        for source, each in enumerate(plan.passes):
            call, firsts = self._forward(each)
            calls.append(call)
            if places := each.places:
                draw = self._draw(source, places)
                draws.append((draw, [place.sequence for place in places]))
            told_here, telling = self._told(each, firsts, call.size, telling_calls)
            told += told_here
            calls += telling
            telling_calls += len(telling)
        for part in _parts(plan.copies):
            pages = np.full((2, LOAD_WIDTH), self._config.num_pages, np.int32)
            pages[:, : len(part)] = np.transpose(part)
            calls.append(Call("copy", LOAD_WIDTH, tuple(pages)))
        return StepCalls(Forward(calls), draws, told)

    def drawing(self, draws: list[Draw], masks: list[Mask]) -> Drawing:
        """The draws, after the calls that put masks where they find them."""
        of_draws: list[list[Call]] = []
        for draw in range(len(draws)):
            calls: list[Call] = []
            for part in _parts([mask for mask in masks if mask.draw == draw]):
                places, allowed = self._no_slots(), self._no_bits()
                for row, mask in enumerate(part):
                    places[row], allowed[row] = mask.place, mask.allowed
                calls.append(Call("load_masks", LOAD_WIDTH, (places, allowed)))
            of_draws.append(calls)
        return Drawing(of_draws, draws)

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

    def _seat(self, seats: list[Seat]) -> Call:
        slots = self._no_slots()
        tables = np.zeros((LOAD_WIDTH, self._table_width), np.int32)
        for row, seat in enumerate(seats):
            slots[row], tables[row, : len(seat.table)] = seat.slot, seat.table
        return Call("seat", LOAD_WIDTH, (slots, tables))

    def _forward(self, each: Pass) -> tuple[Call, list[int]]:
        """One pass over the weights, and where the tokens of its chunks begin."""
        config = self._config
        parts = [
            RowTokens(chunk.slot, chunk.start, chunk.tokens, chunk.table) for chunk in each.prefill
        ]
        parts += [
            RowTokens(row.sequence.slot, row.position, [LAST, *row.drafted], row.sequence.pages)
            for row in each.decode
        ]
        total = sum(len(part.tokens) for part in parts)
        # In deterministic mode a program is for one kind of work: whatever comes with it.
        least = config.max_rows if config.deterministic and each.decode else total
        sees = any(chunk.seen for chunk in each.prefill)
        size = bucket(max(total, least), config.seeing_buckets if sees else config.token_buckets)
        inputs, firsts = step_inputs(parts, size, config.max_rows, config.page_size)
        if isinstance(self._vision, Qwen3VLVisionConfig):
            turned = _turns(each, parts, firsts, inputs.tokens[2], self._vision.merge)
            inputs = inputs._replace(turns=turned)
        picks = np.zeros(config.max_rows, np.int32)
        # As `Pass.places` lists them: after a prompt's end, and after each token of the other rows.
        chunks = len(each.prefill)
        picked: list[int] = []
        for first, chunk in zip(firsts[:chunks], each.prefill, strict=True):
            picked += [first + len(chunk.tokens) - 1] * len(chunk.sampling)
        for first, part in zip(firsts[chunks:], parts[chunks:], strict=True):
            picked += range(first, first + len(part.tokens))
        picks[: len(picked)] = picked
        adapters = self._adapters(each, always=sees)
        if sees:
            taken = inputs, picks, adapters, *self._sight(each, firsts, inputs.tokens[2])
            return Call("seeing", size, taken), firsts
        if adapters is None:
            return Call("forward", size, (inputs, picks)), firsts
        return Call("adapted", size, (inputs, picks, adapters)), firsts

    def _looks(self, looks: list[Look], vision: AnyVisionConfig) -> list[Call]:
        """Have the tower look at images, and keep what it makes of them."""
        found: list[Call] = []
        counts = [len(look.image.patches) for look in looks]
        most = tower.sizes_for(vision, self._config.context_length)[-1]
        # Deterministic, what is made of an image does not depend on who else is in the call.
        for group in tower.calls(vision, counts, 0 if self._config.deterministic else most):
            size = tower.call_size(vision, sum(counts[number] for number in group))
            images = [(looks[number].image.patches, looks[number].image.grid) for number in group]
            slots = np.full(vision.tokens(size), self._config.image_vectors, np.int32)
            taken = np.concatenate([looks[number].slots for number in group])
            slots[: len(taken)] = taken
            found.append(Call("look", size, (tower.tower_inputs(vision, images, size), slots)))
        return found

    def _sight(
        self, each: Pass, firsts: list[int], positions: Int[np.ndarray, " N"]
    ) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"] | None]:
        """Where the vector of each token lies, and the last position that each token sees."""
        places, seen = np.full(len(positions), -1, np.int32), positions.copy()
        for chunk, first in zip(each.prefill, firsts, strict=False):
            count = len(chunk.tokens)
            seen[first : first + count] = ends(chunk.images, chunk.start, count)
            for image, slots in chunk.seen:
                start = max(chunk.start, image.start)
                end = min(chunk.start + count, image.start + image.tokens)
                at = first + start - chunk.start
                places[at : at + end - start] = slots[start - image.start : end - image.start]
        ahead = self._vision is not None and self._vision.sees_ahead
        return places, seen if ahead else None

    def _adapters(self, each: Pass, *, always: bool) -> Int[np.ndarray, " R"] | None:
        """The adapter of each slot, −1 for none; None for a pass that has none to be adapted by."""
        if not self._has_adapters:
            return None
        of_slots = [(chunk.slot, chunk.adapter) for chunk in each.prefill]
        of_slots += [(row.sequence.slot, row.sequence.request.adapter) for row in each.decode]
        adapters = np.full(self._config.max_rows, -1, np.int32)
        for slot, adapter in of_slots:
            if adapter is not None:
                adapters[slot] = adapter
        # Deterministic, all take one program, or a row's bits would depend on its neighbours.
        always = always or self._config.deterministic
        return adapters if always or adapters.max() >= 0 else None

    def _draw(self, source: int, places: list[Place]) -> Draw:
        size = bucket(len(places), self._config.row_buckets)
        where, drafts = np.zeros((2, 2, size), np.int32)
        where[0] = self._config.max_rows
        where[:, : len(places)] = np.transpose([(p.sequence.slot, p.position) for p in places])
        drafts[:, : len(places)] = np.transpose([(p.before, p.given) for p in places])
        asked = any(place.sequence.request.sampling.logprobs for place in places)
        return Draw(source, size, where, drafts, asked)

    def _told(
        self, each: Pass, firsts: list[int], size: int, made: int
    ) -> tuple[list[Told], list[Call]]:
        """What a pass tells of prompts, and the calls for it, which come right after it.

        Args:
            each: the pass.
            firsts: where the tokens of its chunks begin.
            size: of its program.
            made: how many such calls the step has before.
        """
        told: list[Told] = []
        tokens = np.zeros(-(-size // PLACES) * PLACES, np.int32)
        parts: dict[int, int] = {}
        for chunk, first in zip(each.prefill, firsts, strict=False):
            telling = chunk.telling
            if telling is None:
                continue
            at, end = first + telling.first, first + telling.first + len(telling.tokens)
            tokens[at:end] = telling.tokens
            places: list[tuple[int, slice]] = []
            while at < end:
                part, offset = divmod(at, PLACES)
                upto = min(PLACES, offset + end - at)
                places.append((parts.setdefault(part, made + len(parts)), slice(offset, upto)))
                at += upto - offset
            told.append(Told(telling, places))
        calls = [
            Call("prompt_logprobs", PLACES, (part, tokens[part * PLACES : (part + 1) * PLACES]))
            for part in parts
        ]
        return told, calls


def _turns(
    each: Pass,
    parts: list[RowTokens],
    firsts: list[int],
    positions: Int[np.ndarray, " N"],
    merge: int,
) -> Int[np.ndarray, "3 N"]:
    """What each token is rotated by on three axes: of a row without images its position."""
    found = np.tile(positions, (3, 1))
    places = [
        slice(first, first + len(part.tokens)) for part, first in zip(parts, firsts, strict=True)
    ]
    chunks = len(each.prefill)
    for chunk, here in zip(each.prefill, places[:chunks], strict=True):
        if chunk.images:
            found[:, here] = turns(chunk.images, merge, chunk.start, len(chunk.tokens))
    # Answers come after all images.
    for row, here in zip(each.decode, places[chunks:], strict=True):
        if row.sequence.request.images:
            found[:, here] -= behind(row.sequence.request.images, merge)
    return found


def _parts(items: list[_Item]) -> Iterator[list[_Item]]:
    """As many at a time as one call takes."""
    return (items[start : start + LOAD_WIDTH] for start in range(0, len(items), LOAD_WIDTH))

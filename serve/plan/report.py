"""A plan in words and as JSON."""

from typing import Any

import jax

from model.parameters import count_parameters
from model.vision.parameters import count_tower_parameters
from serve.engine.memory import numbers_in_words
from serve.plan.chips import Slice
from serve.plan.compiler import compiler_name
from serve.plan.costs import Estimate
from serve.plan.deployment import Budget, Workload
from serve.plan.plan import LookCost, Plan, StepCost, copies_pages

_GIB = 2**30
_NOTE = """\
The estimate is the compiler's cycles of its fusions, the bytes of attention kernels and of copies
over HBM's bandwidth, and those of exchanges over the links'; latencies are not in it. The floor
is what must be read over HBM's bandwidth, or the operations over the peak, whichever is longer."""


def plan_text(plan: Plan, model: str, work: Workload) -> str:
    """A plan for a person."""
    where, budget = plan.deployment.where, plan.deployment.budget
    config = plan.deployment.config
    held = numbers_in_words(config, plan.deployment.dtype)
    mesh = ", ".join(f"{name}={size}" for name, size in plan.deployment.mesh.shape.items())
    verdict = "fits" if plan.fits else "does not fit"
    if plan.fits and budget.pages < budget.pages_wanted:
        share = budget.pages / budget.pages_wanted
        verdict = f"fits, with pages for {share:.0%} of {work.rows} rows × {work.context} tokens"
    attention = plan.deployment.backend.name
    if plan.deployment.backend.fallback:
        attention = f"plain JAX, slower: {plan.deployment.backend.fallback}"
    facts = [
        (
            "model",
            f"{model}, {count_parameters(config) / 1e9:.2f} B parameters, {held}",
        ),
        ("slice", f"{where.topology}, {where.devices} devices, mesh {mesh}"),
        ("verdict", verdict),
        ("attention", attention),
        ("compiler", f"{compiler_name()}, jax {jax.__version__}"),
    ]
    if work.tower is not None:
        count = count_tower_parameters(work.tower) / 1e9
        facts.insert(1, ("tower", f"{count:.2f} B parameters"))
    if config.kv_copies > 1:
        facts.append(("kv heads", f"each is held {config.kv_copies} times"))
    sees = [("weights of the tower", budget.tower), ("vectors of images", budget.vectors)]
    memory = [
        ("weights", budget.weights),
        (f"pages: {budget.pages} of {work.page_size} tokens", budget.pages * budget.page),
        *(sees if work.tower else []),
        ("sampler's rows", budget.state),
        ("temporaries", plan.temporary),
        ("programs compiled here", plan.code),
    ]
    lines = [f"{name:<11}{value}" for name, value in facts]
    lines += ["", "memory of a device", *(_share(name, size, budget.hbm) for name, size in memory)]
    lines.append(_share("together", plan.taken, budget.hbm))
    lines.append(f"  of {budget.hbm / _GIB:.2f} GiB that programs can use")
    tokens = budget.pages * work.page_size
    lines += [
        "",
        f"cache: {tokens} tokens, {tokens // work.context} contexts of {work.context}",
        "",
    ]
    head = ("step", "floor", "estimate", "ratio", "fusions", "kernels", "copies", "exchanges")
    lines.append(_row((*head, "tokens/s")))
    lines += [
        _row(_cells(_name(step), step.floor, step.estimate, step.step.work.tokens))
        for step in plan.steps
    ]
    lines += [
        _row(_cells(f"look {look.size}", look.floor, look.estimate, look.tokens))
        for look in plan.looks
    ]
    lines += ["", "exchanges on one device"]
    lines += [f"  {_name(step):<14}{_exchanges(step)}" for step in plan.steps]
    warnings = [
        f"{_name(step)}: a pool of pages is copied"
        for step in plan.steps
        if copies_pages(step, plan.deployment)
    ]
    warnings += [
        f"{_name(step)}: the cycles of {step.text.unknown} fusions are not known"
        for step in plan.steps
        if step.text.unknown
    ]
    lines += ["", *warnings] if warnings else []
    return "\n".join([*lines, "", _figures(plan), _NOTE])


def _figures(plan: Plan) -> str:
    chip = plan.deployment.where.chip
    return (
        f"Of a device: {chip.bandwidth / 1e9:.0f} GB/s of HBM, {chip.peak / 1e12:.0f} Tflop/s, "
        f"{chip.link / 1e9:.0f} GB/s a link and direction, {chip.clock / 1e9:.2f} GHz."
    )


def _share(name: str, size: int, hbm: int) -> str:
    return f"  {name:<34}{size / _GIB:>8.2f} GiB{size / hbm:>7.1%}"


def _name(step: StepCost) -> str:
    return f"{step.step.name} {step.step.work.tokens}"


def _cells(name: str, floor: float, cost: Estimate, tokens: int) -> tuple[str, ...]:
    parts = (cost.fusions, cost.kernels, cost.copies, cost.exchanges)
    return (
        name,
        _ms(floor),
        _ms(cost.total),
        f"{cost.total / floor:.2f}",
        *map(_ms, parts),
        f"{tokens / cost.total:.0f}",
    )


def _row(cells: tuple[str, ...]) -> str:
    return f"{cells[0]:<14}" + "".join(f"{cell:>11}" for cell in cells[1:])


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _exchanges(step: StepCost) -> str:
    said = [f"{count} × {kind} of {_size(size)}" for kind, size, count in step.exchanges]
    return ", ".join(said) or "none"


def _size(size: int) -> str:
    return f"{size / 2**20:.2f} MiB" if size >= 2**20 // 10 else f"{size / 2**10:.1f} KiB"


def plan_json(plan: Plan, model: str, work: Workload) -> dict[str, Any]:
    """A plan for a program; bytes are those of one device, times are seconds."""
    where, budget = plan.deployment.where, plan.deployment.budget
    return {
        "model": model,
        "parameters": count_parameters(plan.deployment.config),
        "dtype": work.dtype,
        "weights": work.weights,
        "cache_dtype": str(work.page_dtype),
        "topology": where.topology,
        "devices": where.devices,
        "mesh": dict(plan.deployment.mesh.shape),
        "rows": work.rows,
        "context": work.context,
        "fits": plan.fits,
        "attention": plan.deployment.backend.name,
        "attention_fallback": plan.deployment.backend.fallback,
        "compiler": compiler_name(),
        "jax": jax.__version__,
        "bytes": {
            "hbm": budget.hbm,
            "weights": budget.weights,
            "tower": budget.tower,
            "vectors": budget.vectors,
            "pages": budget.pages * budget.page,
            "rows": budget.state,
            "temporaries": plan.temporary,
            "programs": plan.code,
        },
        "pages": {
            "size": work.page_size,
            "count": budget.pages,
            "wanted": budget.pages_wanted,
            "tokens": budget.pages * work.page_size,
        },
        "steps": [_step_json(step, plan) for step in plan.steps],
        "looks": [_look_json(look) for look in plan.looks],
    }


def _look_json(look: LookCost) -> dict[str, Any]:
    return {
        "size": look.size,
        "tokens": look.tokens,
        "floor": look.floor,
        "estimate": _estimate_json(look.estimate),
        "argument_bytes": look.program.argument_bytes,
        "temporary_bytes": look.program.temporary_bytes,
        "code_bytes": look.program.code_bytes,
    }


def _estimate_json(cost: Estimate) -> dict[str, float]:
    return {
        "total": cost.total,
        "fusions": cost.fusions,
        "kernels": cost.kernels,
        "copies": cost.copies,
        "exchanges": cost.exchanges,
    }


def _step_json(step: StepCost, plan: Plan) -> dict[str, Any]:
    text, work = step.text, step.step.work
    return {
        "step": step.step.name,
        "size": work.tokens,
        "rows": work.rows,
        "prompt_tokens": work.prompt,
        "floor": step.floor,
        "estimate": _estimate_json(step.estimate),
        "programs": [
            {
                "program": name,
                "size": size,
                "argument_bytes": program.argument_bytes,
                "temporary_bytes": program.temporary_bytes,
                "aliased_bytes": program.aliased_bytes,
                "fused_cycles": program.text.cycles,
            }
            for (name, size), program in zip(step.step.keys, (step.forward, step.draw), strict=True)
        ],
        "copied_bytes": step.copied,
        "pages_copied": copies_pages(step, plan.deployment),
        "kernel_calls": text.kernels,
        "fused_cycles": text.cycles,
        "unknown_fusions": text.unknown,
        "exchanges": [
            {"kind": kind, "bytes": size, "count": count} for kind, size, count in step.exchanges
        ],
    }


def proposals_text(found: list[tuple[Slice, Budget]], model: str, work: Workload) -> str:
    """The smallest slices for a person."""
    kept = f", matrices in {work.weights}" if work.form else ""
    header = f"{'slice':<15}{'devices':>8}{'weights':>12}{'pages':>12}{'of HBM':>12}"
    lines = [
        f"smallest slices for {model} in {work.dtype}{kept}, by arithmetic:",
        header,
    ]
    for where, takes in found:
        pages = takes.pages * takes.page
        lines.append(
            f"{where.topology:<15}{where.devices:>8}"
            f"{(takes.weights + takes.tower + takes.vectors) / _GIB:>8.2f} GiB"
            f"{pages / _GIB:>8.2f} GiB{takes.hbm / _GIB:>8.2f} GiB"
        )
    return "\n".join(lines)


def proposal_json(where: Slice, takes: Budget) -> dict[str, Any]:
    """One of the smallest slices for a program."""
    return {
        "topology": where.topology,
        "devices": where.devices,
        "bytes": {
            "hbm": takes.hbm,
            "weights": takes.weights,
            "tower": takes.tower,
            "vectors": takes.vectors,
            "pages": takes.pages * takes.page,
        },
    }

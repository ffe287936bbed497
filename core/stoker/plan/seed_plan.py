"""A plan with the guide's own numbers, in the shape of `plan --json`: `stoker plan --profile seed`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from stoker.errors import UsageError
from stoker.plan.guide import GUIDE, Bounds, Guide
from stoker.plan.memory import COMPONENTS
from stoker.plan.seed import DIVIDED, GB, METHODS, components_gb, cost_usd, hours, state_bytes
from stoker.plan.seed_findings import findings
from stoker.recipe.problems import did_you_mean
from stoker.recipe.words import one_of


def nominal_parameters(model: float | str, guide: Guide = GUIDE) -> float:
    """A number of parameters, or that of `8b`, `llama-3-8b` and other names that end in a size.

    Raises `UsageError` for a name without one and for a number that is not positive.
    """
    if isinstance(model, str):
        number = model.lower().rpartition("-")[2].removesuffix("b")
        try:
            parameters = float(number) * 1e9
        except ValueError:
            raise UsageError(
                f"the profile seed knows nominal sizes, and {model!r} does not end in one.",
                hint=f"Name one such as {one_of(guide.sizes)}, or leave --profile out.",
            ) from None
    else:
        parameters = float(model)
    if not (math.isfinite(parameters) and parameters > 0):
        raise UsageError(f"a model cannot have {model!r} parameters.", hint="Give a size such as 8b.")
    return parameters


def seed_plan(
    model: float | str,
    gpus: int = 1,
    engine: str = "default",
    *,
    method: str = "full",
    gpu: str = "a100-80gb",
    nodes: int = 1,
    examples: int = GUIDE.row_examples,
    epochs: float = GUIDE.row_epochs,
    batch_size: int = 32,
    guide: Guide = GUIDE,
) -> dict[str, Any]:
    """A plan in the shape of `plan --json`, with the guide's numbers and nothing else.

    `gpus` is the number on all nodes together. Bytes are decimal, of one GPU; activations are the lower
    end of the guide's range where nothing is divided, and 0 where something is, as in its rows.
    `tokens` and `disk_bytes` are None: the guide counts examples, and no checkpoints. Raises
    `UsageError` for names and numbers that it does not have.
    """
    _known("gpu", gpu, guide.gpu_gb)
    _known("engine", engine, DIVIDED)
    _known("method", method, METHODS)
    for name, number in (("gpus", gpus), ("nodes", nodes), ("examples", examples), ("epochs", epochs)):
        if number <= 0:
            raise UsageError(f"{name} cannot be {number}.", hint="Give a number of at least 1.")
    parameters = nominal_parameters(model, guide)
    sizes = components_gb(parameters, method, engine, gpus, guide)
    activations = 0.0 if DIVIDED[engine] else guide.activations_gb.low
    total = sum(sizes.values()) + activations
    wall = hours(method, parameters, gpus, examples, epochs, guide)
    usd = cost_usd(wall, gpus, guide.prices[gpu])
    steps = math.ceil(examples * epochs / batch_size)
    return {
        "fits": total <= guide.gpu_gb[gpu],
        "gpu": gpu,
        "gpus": gpus,
        "nodes": nodes,
        "per_gpu": _bytes(sizes, activations, total, guide.gpu_gb[gpu]),
        "host_bytes": 0,
        "nvme_bytes": 0,
        "disk_bytes": None,
        "tokens": None,
        "steps": steps,
        "step_seconds": _range(wall.times(3600 / steps)),
        "hours": _range(wall),
        "cost_usd": _range(usd),
        "assumptions": _assumptions(method, engine, guide),
        "findings": [finding.sentence() for finding in findings(guide)],
    }


def _bytes(
    sizes: Mapping[str, float], activations: float, total: float, capacity: float
) -> dict[str, int]:
    named = {**sizes, "activations": activations, "allocated": total, "total": total}
    order = (*COMPONENTS, "context", "allocated", "total")
    components = {name: round(named.get(name, 0.0) * GB) for name in order}
    return {**components, "capacity": round(capacity * GB)}


def _range(span: Bounds) -> dict[str, float]:
    return {"low": span.low, "mid": span.middle, "high": span.high}


def _assumptions(method: str, engine: str, guide: Guide) -> list[str]:
    said = [
        f"the guide's: nominal size, decimal GB, {state_bytes(guide):g} bytes per trained parameter",
        "no buffers, logits or context",
        "hours are its rows for A100s, scaled by parameters, examples and GPUs; prices are of 2024-2025",
    ]
    if DIVIDED[engine]:
        said.append("no activations, as in its rows for ZeRO")
    else:
        low, high = guide.activations_gb
        said.append(f"{low:g} GB of activations, the least it gives; it gives up to {high:g}")
    if method != "full":
        share = guide.adapter_share.high
        said.append(f"an adapter of {share:.0%} of the parameters, the most that it gives")
    if method == "qlora":
        said.append("it has no hours for QLoRA; LoRA's stand in")
    return said


def _known(what: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        hint = did_you_mean(name, names) or f"It has {one_of(names)}."
        raise UsageError(f"the guide has no {what} {name!r}.", hint=hint)

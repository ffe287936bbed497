"""What is compared: every engine, alone and with each setting that must not change what is learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stoker.capabilities import DEFAULTS
from stoker.matrix import Matrix

NEUTRAL_AXES = ("checkpointing", "attention", "offload", "packing")
"""Axes whose values change memory and speed, and the result by rounding only."""


class Bounds(NamedTuple):
    """Largest relative differences of a step from the reference of that precision."""

    loss: float
    norm: float
    """Of the gradient's norm before clipping."""


BOUNDS: Mapping[str, Bounds] = {
    "fp32": Bounds(1e-5, 1e-5),
    "bf16_mixed": Bounds(1e-2, 5e-2),
    "fp16_mixed": Bounds(1e-2, 5e-2),
    "bf16": Bounds(5e-2, 1e-1),
    "bf16_fp32_states": Bounds(5e-2, 1e-1),
}
"""float32 sums are taken in another order on several ranks; bfloat16 has 8 bits of mantissa, and engines
differ in which activations they keep in it.
"""


@dataclass(frozen=True)
class Setting:
    """One way to run the same training."""

    name: str
    precision: str
    nproc: int
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Plugin tables that bring it about; `{folder}` stands for an empty folder."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """Changes of the recipe's `[train]`."""


def reference(precision: str) -> Setting:
    """What everything else in that precision is compared with: one process, the default engine."""
    return Setting(f"reference, {precision}", precision, 1)


def settings(
    matrix: Matrix,
    method: Mapping[str, str],
    batch_size: int,
    nproc: int,
    precisions: Sequence[str],
    engines: Sequence[str],
) -> Iterator[Setting]:
    """All settings, those of one precision after its reference.

    `method` is what the recipe itself chooses on other axes, such as an adapter. Settings are
    combined with every engine in the first precision; in the others engines are compared alone.
    """
    for number, precision in enumerate(precisions):
        fixed = {**method, "precision": precision}
        yield reference(precision)
        if number == 0:
            for size in sorted({1, batch_size}):
                micro = {"micro_batch_size": size}
                yield Setting(f"default, 1 rank, micro-batches of {size}", precision, 1, {}, micro)
        for engine in engines:
            deviations = [{}, *_deviations(matrix)] if number == 0 else [{}]
            for deviation in deviations:
                cell = matrix.cell({**fixed, "engine": engine, **deviation})
                if cell.verdict != "refused":
                    name = ", ".join([engine, *(f"{axis} {value}" for axis, value in deviation.items())])
                    yield Setting(name, precision, nproc, cell.tables)


def _deviations(matrix: Matrix) -> Iterator[dict[str, str]]:
    for axis in NEUTRAL_AXES:
        for value in matrix.axes.get(axis, ()):
            if value != DEFAULTS.get(axis, "default"):
                yield {axis: value}

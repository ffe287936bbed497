"""The question that a comparison answers, and the strategies that plugins allow for it. Torch-free."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stoker.capabilities import situation as values_of
from stoker.dispatch import Hooks
from stoker.matrix import Classes, Matrix
from stoker.plan.cost import Interruptions
from stoker.plan.gpus import Gpu
from stoker.plan.prices import PriceTable
from stoker.plan.situation import MicroBatch
from stoker.plan.time import Load
from stoker.registry import configure_plugin, order_plugins

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plugin import Plugin

STRATEGY_AXES = ("engine", "offload", "checkpointing")
METHOD_AXES = ("method", "quantization")

Tables = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """What is to be trained, and on what it may be."""

    architecture: Architecture
    precision: str
    batch_size: int
    """Rows of a step, over all ranks: every candidate keeps it."""
    micro_batch: Callable[[int, int], MicroBatch]
    """The largest of so many rows (or as many tokens, where packed) on so many ranks."""
    load: Load
    """Steps and what happens besides; micro-batches, in evaluations too, are each candidate's own."""
    gpus: Sequence[Gpu]
    counts: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)
    tables: Tables | None = None
    """The recipe's plugin tables."""
    mean_micro_batch: Callable[[int, int], MicroBatch] | None = None
    """The one that takes the mean time; None: as long as the largest."""
    accumulation: Callable[[int, int], int] | None = None
    """Micro-batches of a rank in a step; None: as many as the rows make."""
    evaluation_rows: int = 0
    compares_methods: bool = False
    prices: PriceTable | None = None
    provider: str | None = None
    interruptions: Interruptions | None = None
    """Of spot machines; with it, spot prices are compared too."""


@dataclass(frozen=True)
class Strategy:
    """One cell of the matrix, ready to be asked."""

    values: Mapping[str, str]
    tables: Tables
    hooks: Hooks
    needs_cuda: bool


def list_strategies(question: Question, classes: Classes, refused: dict[str, int]) -> Iterator[Strategy]:
    """All allowed combinations of the compared axes, the plainest first; counts reasons in `refused`."""
    axes = STRATEGY_AXES + (METHOD_AXES if question.compares_methods else ())
    tables = dict(question.tables or {})
    own = {name: classes[name] for name in tables}
    configs = {name: plugin.config for name, plugin in _plugins(tables, classes).items()}
    stated = values_of(question.precision, own, configs)
    matrix = Matrix(classes)
    fixed = {axis: value for axis, value in stated.items() if axis not in axes and axis in matrix.axes}
    for values in itertools.product(*(matrix.axes[axis] for axis in axes)):
        cell = matrix.cell({**fixed, **dict(zip(axes, values, strict=True))})
        if cell.verdict == "refused":
            refused[cell.reason] = refused.get(cell.reason, 0) + 1
            continue
        merged = _merged(tables, cell.tables, classes, axes)
        yield Strategy(
            values={axis: cell.values[axis] for axis in axes},
            tables=merged,
            hooks=Hooks(_plugins(merged, classes)),
            needs_cuda=cell.verdict == "needs CUDA",
        )


def _plugins(tables: Tables, classes: Classes) -> dict[str, Plugin[Any]]:
    """Instances in calling order. Raises `PluginError` for options that are not valid."""
    order = order_plugins({name: classes[name] for name in tables})
    return {name: configure_plugin(name, classes[name], tables[name]) for name in order}


def _merged(stated: Tables, chosen: Tables, classes: Classes, axes: Iterable[str]) -> Tables:
    """The recipe's tables with the options of a cell in place of its own on the compared axes."""
    merged: dict[str, dict[str, Any]] = {}
    for name, table in stated.items():
        choices = classes[name].choices
        is_only_strategy = bool(choices) and all(choice.axis in axes for choice in choices)
        if name in chosen or not is_only_strategy:
            compared = {key for choice in choices if choice.axis in axes for key in choice.options}
            merged[name] = {key: value for key, value in table.items() if key not in compared}
    for name, table in chosen.items():
        kept = merged.get(name, {})
        # An option that is not set says nothing against what the cell needs.
        needed = {key: value for key, value in table.items() if kept.get(key) is None}
        merged[name] = {**kept, **needed}
    return merged

"""Every strategy, GPU type and number of GPUs that a model can be trained on, ranked by cost or by time.

Strategies are the choices that installed plugins declare on the axes below, as far as the capability
matrix allows them; nothing here knows a plugin. What a recipe says on other axes stays as it is. Methods
are compared only where that is asked for: full training, LoRA and QLoRA do not train the same thing.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from stoker.matrix import Classes
from stoker.plan.cost import CostEstimate, estimate_cost
from stoker.plan.facts import Facts, facts_from
from stoker.plan.gpus import CPU, Gpu
from stoker.plan.memory import MemoryEstimate, estimate_memory
from stoker.plan.prices import Price, find_price
from stoker.plan.ranking import Candidate, by_cost, by_time, marked
from stoker.plan.situation import Situation
from stoker.plan.strategies import Question, Strategy, list_strategies
from stoker.plan.time import TimeEstimate, estimate_time

if TYPE_CHECKING:
    pass

GPUS_PER_NODE = 8

Prices = tuple[Price | None, Price | None]
"""Of a GPU on demand and as spot."""
MemoryFunction = Callable[[Situation, Facts], MemoryEstimate]


@dataclass(frozen=True)
class Comparison:
    """Candidates that fit, the best first."""

    candidates: tuple[Candidate, ...]
    considered: int
    """Combinations that were looked at."""
    too_large: int
    """Of them, those that need more memory than there is."""
    refused: Mapping[str, int]
    """Reasons, with the number of strategies, or types of GPU, that each ruled out."""
    notes: tuple[str, ...] = ()


def compare(
    question: Question,
    classes: Classes,
    estimate_memory: MemoryFunction = estimate_memory,
    *,
    by: Literal["cost", "time"] = "cost",
) -> Comparison:
    """Rank what fits. `classes` are the installed plugins by name.

    By cost, candidates without a price come last, by time. Of strategies that come to the same on a
    number of GPUs, the one with the fewest plugins stands for all.
    """
    refused: dict[str, int] = {}
    strategies = list(list_strategies(question, classes, refused))
    question = _without_bf16(question, refused)
    found: list[Candidate] = []
    considered = too_large = 0
    for ranks in question.counts:
        shapes = _Shapes(question, ranks, estimate_memory)
        for strategy, gpu in itertools.product(shapes.distinct(strategies), question.gpus):
            if strategy.needs_cuda and gpu.name == CPU:
                continue
            considered += 1
            candidate = shapes.candidate(strategy, gpu)
            if candidate is None:
                too_large += 1
            else:
                found.append(candidate)
    found.sort(key=lambda each: len(each.tables))  # the plainest of those that are equally good
    ranked = sorted(marked(found), key=by_cost if by == "cost" else by_time)
    return Comparison(tuple(ranked), considered, too_large, refused, _notes(question, found))


def _without_bf16(question: Question, refused: dict[str, int]) -> Question:
    """The question for GPUs that have the precision's dtype: no other is chosen silently."""
    if not question.precision.startswith("bf16"):
        return question
    able = tuple(gpu for gpu in question.gpus if gpu.has_bf16)
    if others := [gpu.name for gpu in question.gpus if not gpu.has_bf16]:
        refused[f"precision {question.precision!r}: {', '.join(others)} have no bf16."] = len(others)
    return replace(question, gpus=able)


class _Shapes:
    """Candidates on one number of GPUs. Facts and memory are asked for once for all types of GPU."""

    def __init__(self, question: Question, ranks: int, estimate_memory: MemoryFunction) -> None:
        self._question = question
        self._ranks = ranks
        self._nodes = math.ceil(ranks / GPUS_PER_NODE)
        self._estimate_memory = estimate_memory
        self._rows = _row_counts(question.batch_size, ranks) if ranks % self._nodes == 0 else []
        self._facts: dict[int, tuple[Facts, Facts]] = {}
        self._prices = {gpu.name: prices_of(question, gpu) for gpu in question.gpus}
        self._memory: dict[tuple[int, int], tuple[float, MemoryEstimate]] = {}

    def distinct(self, strategies: Iterable[Strategy]) -> list[Strategy]:
        """Those that differ in their facts, at the smallest micro-batch; of equal ones the first."""
        found: list[Strategy] = []
        seen: list[Facts] = []
        for strategy in strategies if self._rows and self._question.gpus else ():
            facts = self._facts_of(strategy, self._situation(self._question.gpus[0], self._rows[-1]))
            if facts not in seen:
                seen.append(facts)
                found.append(strategy)
        return found

    def candidate(self, strategy: Strategy, gpu: Gpu) -> Candidate | None:
        """With the largest micro-batch that fits; None where not even one row does."""
        place = bisect_left(
            self._rows,
            True,
            key=lambda rows: self._memory_of(strategy, gpu, rows)[0] <= gpu.memory_bytes,
        )
        if place == len(self._rows):
            return None
        return self._complete(strategy, self._situation(gpu, self._rows[place]), self._rows[place])

    def _situation(self, gpu: Gpu, rows: int) -> Situation:
        question = self._question
        return Situation(
            architecture=question.architecture,
            precision=question.precision,
            micro_batch=question.micro_batch(rows, self._ranks),
            gpu=gpu,
            ranks=self._ranks,
            nodes=self._nodes,
            accumulation=question.accumulation(rows, self._ranks)
            if question.accumulation
            else question.batch_size // (rows * self._ranks),
        )

    def _facts_of(self, strategy: Strategy, situation: Situation) -> Facts:
        """Asked for the smallest and the largest micro-batch; for others only where those differ."""
        if id(strategy) not in self._facts:
            ends = [self._situation(situation.gpu, rows) for rows in (self._rows[-1], self._rows[0])]
            self._facts[id(strategy)] = (_ask(strategy, ends[0]), _ask(strategy, ends[1]))
        smallest, largest = self._facts[id(strategy)]
        return smallest if smallest == largest else _ask(strategy, situation)

    def _memory_of(self, strategy: Strategy, gpu: Gpu, rows: int) -> tuple[float, MemoryEstimate]:
        """With its total."""
        key = id(strategy), rows
        if key not in self._memory:
            situation = self._situation(gpu, rows)
            memory = self._estimate_memory(situation, self._facts_of(strategy, situation))
            self._memory[key] = memory.total, memory
        return self._memory[key]

    def _complete(self, strategy: Strategy, situation: Situation, rows: int) -> Candidate:
        question = self._question
        facts = self._facts_of(strategy, situation)
        _, memory = self._memory_of(strategy, situation.gpu, rows)
        prices = self._prices[situation.gpu.name]
        time, cost = time_and_cost(question, situation, facts, rows, prices)
        return Candidate(
            values=strategy.values,
            tables=strategy.tables,
            gpu=situation.gpu,
            gpus=self._ranks,
            nodes=self._nodes,
            micro_batch_rows=rows,
            accumulation=situation.accumulation,
            memory=replace(memory, capacity=situation.gpu.memory_bytes),
            time=time,
            cost=cost,
        )


def time_and_cost(
    question: Question, situation: Situation, facts: Facts, rows: int, prices: Prices
) -> tuple[TimeEstimate, CostEstimate | None]:
    """Of the question's run in a situation with so many rows at once; no dollars without prices."""
    packed = question.batch_size / situation.accumulation
    evaluated = math.ceil(
        question.evaluation_rows / (packed if facts.packed else rows * situation.ranks)
    )
    means = question.mean_micro_batch
    mean = means(rows, situation.ranks) if means else None
    load = replace(question.load, micro_batch=mean, evaluation_micro_batches=evaluated)
    time = estimate_time(situation, facts, load)
    if question.prices is None:
        return time, None
    on_demand, spot = prices
    cost = estimate_cost(
        time,
        situation.ranks,
        on_demand=on_demand,
        spot=spot,
        interruptions=question.interruptions,
        machines=situation.nodes,
    )
    return time, cost


def _ask(strategy: Strategy, situation: Situation) -> Facts:
    return facts_from(strategy.hooks.collect_mapping("collect_estimates", situation=situation))


def prices_of(question: Question, gpu: Gpu) -> Prices:
    """On demand, and where interruptions are expected as spot."""
    if question.prices is None:
        return None, None
    on_demand = find_price(gpu.name, question.provider, prices=question.prices)
    if not question.interruptions:
        return on_demand, None
    return on_demand, find_price(gpu.name, question.provider, spot=True, prices=question.prices)


def _row_counts(batch_size: int, ranks: int) -> list[int]:
    """Rows of a micro-batch that divide the batch and leave no rank idle, the largest first."""
    return [rows for rows in range(batch_size // ranks, 0, -1) if batch_size % (rows * ranks) == 0]


def _notes(question: Question, found: Sequence[Candidate]) -> tuple[str, ...]:
    notes = []
    if question.compares_methods:
        notes.append("compare: full training, LoRA and QLoRA do not train the same thing.")
    unpriced = sorted({each.gpu.name for each in found if question.prices and each.usd is None})
    if unpriced:
        notes.append(f"compare: no price is known for {', '.join(unpriced)}.")
    return tuple(notes)

"""The first way to train that fits, in the order in which the rules prefer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from stoker.advice.estimator import Candidate, Estimate, Planner
from stoker.advice.question import GPUS_OF_A_NODE, Question
from stoker.advice.strategy import (
    ATTENTION,
    CHECKPOINTING,
    ENGINES,
    METHODS,
    OFFLOADS,
    REGIMES,
    Preference,
    Shape,
    preference,
)
from stoker.capabilities import DEFAULTS
from stoker.matrix import Cell, Matrix
from stoker.plan.gpus import CPU
from stoker.scaffold.choose import with_template_options

LARGEST_MICRO_BATCH = 8
"""More rows at once rarely make a step faster: matrix products are large enough by then."""
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Numbers of GPUs that are tried where those at hand do not do."""


@dataclass(frozen=True)
class Choice:
    """A candidate that fits, and the rules that led to it."""

    candidate: Candidate
    estimate: Estimate
    preferences: Mapping[str, Preference]
    """By part: `engine`, `precision`, `offload`, `checkpointing`, `attention`."""

    @property
    def is_tight(self) -> bool:
        """Less than a twentieth of the memory is left."""
        return self.estimate.total_bytes > 0.95 * self.estimate.capacity_bytes


class Search:
    """Searches with one planner and one set of installed plugins, and remembers what it found."""

    def __init__(self, planner: Planner, matrix: Matrix) -> None:
        self.planner = planner
        self.matrix = matrix
        self._cells: dict[tuple[tuple[str, str], ...], Cell] = {}

    def offers(self, method: str) -> bool:
        """Whether the installed plugins can do a method at all."""
        return self._cell(METHODS[method]).verdict != "refused"

    def find(
        self, question: Question, method: str, model: str | None = None, *, offload: bool = True
    ) -> Choice | None:
        """The preferred way to train `model`, else the question's, on the GPUs at hand.

        Without `offload` everything stays on the GPUs.
        """
        shape = Shape(method, question.gpus, question.nodes, self.planner.has_bf16(question.gpu))
        parts = {
            "offload": preference(OFFLOADS, shape),
            "precision": preference(REGIMES, shape),
            "engine": preference(ENGINES, shape),
            "checkpointing": preference(CHECKPOINTING, shape),
            "attention": preference(ATTENTION, shape),
        }
        frame = self._frame(question, method, model or question.model)
        for values in self._strategies(METHODS[method], parts):
            if not offload and "offload" in values:
                return None
            settings = self._settings(values, parts["checkpointing"], frame)
            for candidate in settings:
                estimate = self.planner.estimate(candidate)
                if estimate.fits:
                    return Choice(candidate, estimate, parts)
        return None

    def smallest(self, question: Question, method: str, model: str | None = None) -> Choice | None:
        """The fewest GPUs of the same type that do it; else of the smallest other type that does.

        Without offload: whoever may take other machines need not wait for host memory.
        """
        memory = self.planner.memory_bytes(question.gpu)
        larger = [gpu for gpu in self.planner.gpus() if self.planner.memory_bytes(gpu) > memory]
        # More processes on one CPU share its memory.
        own = [question.gpu] if question.gpu != CPU else []
        for gpu, gpus in itertools.product([*own, *larger], COUNTS):
            nodes = math.ceil(gpus / GPUS_OF_A_NODE)
            asked = replace(question, gpu=gpu, gpus=gpus, nodes=nodes)
            if choice := self.find(asked, method, model, offload=False):
                return choice
        return None

    def _strategies(
        self, method: Mapping[str, str], parts: Mapping[str, Preference]
    ) -> Iterator[dict[str, str]]:
        """Values of all axes but checkpointing that plugins offer together, the preferred first."""
        tried = (parts[part].tries for part in ("offload", "precision", "engine"))
        for combination in itertools.product(*tried):
            values = {**method}
            for chosen in combination:
                values |= chosen
            for attention in parts["attention"].tries:
                if self._cell({**values, **attention}).verdict != "refused":
                    yield {**values, **attention}
                    break

    def _settings(
        self, values: Mapping[str, str], checkpointing: Preference, frame: Candidate
    ) -> Iterator[Candidate]:
        """Micro-batches, large ones first, without and with recomputation; nothing if none can fit."""
        sizes = _micro_batches(frame)
        ways = [
            replace(frame, values=cell.values, tables=cell.tables, micro_batch_size=sizes[-1])
            for way in checkpointing.tries
            if (cell := self._cell({**values, **way})).verdict != "refused"
        ]
        # What does not fit with the fewest rows fits with no number of them.
        fitting = [way for way in ways if self.planner.estimate(way).fits]
        candidates = [replace(way, micro_batch_size=size) for way in fitting for size in sizes]
        # Recomputing costs less than rows one by one do, so a single row without it comes last.
        yield from sorted(candidates, key=_is_single_and_kept)

    def _frame(self, question: Question, method: str, model: str) -> Candidate:
        """A candidate of which only values, tables and micro-batch are missing."""
        row_tokens = min(question.row_tokens, self.planner.max_positions(model))
        mean = row_tokens if question.continued_pretraining else question.tokens_per_example
        return Candidate(
            model=model,
            method=method,
            values={},
            tables={},
            gpu=question.gpu,
            gpus=question.gpus,
            nodes=question.nodes,
            rows=question.rows_of(row_tokens),
            epochs=question.passes,
            row_tokens=row_tokens,
            mean_tokens=min(mean, row_tokens),
            batch_size=_rows_of_a_rank(question) * question.gpus,
            micro_batch_size=1,
        )

    def _cell(self, values: Mapping[str, str]) -> Cell:
        """What plugins say of a combination, with the tables as they will be written."""
        key = tuple(sorted({**DEFAULTS, **values}.items()))
        if key not in self._cells:
            cell = self.matrix.cell(values)
            self._cells[key] = replace(cell, tables=with_template_options(cell.tables))
        return self._cells[key]


def _rows_of_a_rank(question: Question) -> int:
    """Of a step: at least its share, rounded up where that has no useful divisors (11 to 12, say)."""
    rows = math.ceil(question.batch_size / question.gpus)
    return rows if rows <= LARGEST_MICRO_BATCH else math.ceil(rows / 4) * 4


def _is_single_and_kept(candidate: Candidate) -> bool:
    return candidate.micro_batch_size == 1 and candidate.values["checkpointing"] == "none"


def _micro_batches(frame: Candidate) -> list[int]:
    """Sizes that divide a rank's rows of a step, the largest first."""
    rows = frame.batch_size // frame.gpus
    return [size for size in range(min(rows, LARGEST_MICRO_BATCH), 0, -1) if rows % size == 0]

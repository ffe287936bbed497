"""Ways to train a model, and which of them are the cheapest and the fastest. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from stoker.plan.cost import CostEstimate
from stoker.plan.gpus import Gpu
from stoker.plan.memory import MemoryEstimate
from stoker.plan.strategies import Tables
from stoker.plan.time import TimeEstimate


@dataclass(frozen=True)
class Candidate:
    """One way to train it."""

    values: Mapping[str, str]
    """Of the axes that were compared."""
    tables: Tables
    """Plugin tables to write into the recipe."""
    gpu: Gpu
    gpus: int
    nodes: int
    micro_batch_rows: int
    accumulation: int
    memory: MemoryEstimate
    time: TimeEstimate
    cost: CostEstimate | None
    is_cheapest: bool = False
    is_fastest: bool = False
    on_front: bool = False
    """No other is both cheaper and faster."""

    @property
    def fits(self) -> bool:
        """Whether every rank's memory is enough."""
        return self.memory.fits

    @cached_property
    def hours(self) -> float:
        """Of the run, in the middle of the range."""
        return self.time.run_seconds.mid / 3600

    @cached_property
    def usd(self) -> float | None:
        """The cheaper of on-demand and spot, in the middle of the range; None without a price."""
        spans = (self.cost.on_demand_usd, self.cost.spot_usd) if self.cost else ()
        return min((span.mid for span in spans if span), default=None)

    @property
    def to_fill_in(self) -> list[str]:
        """Keys of `changes` that only the user knows, such as a folder on a fast disk."""
        return [
            f"plugins.{name}.{key}"
            for name, table in self.tables.items()
            for key, value in table.items()
            if value == "{folder}"
        ]

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """Entries to write into the recipe's tables."""
        return {
            "train": {"micro_batch_size": self.micro_batch_rows},
            "launch": {"gpus_per_node": self.gpus // self.nodes, "nodes": self.nodes},
            "plugins": {name: dict(table) for name, table in self.tables.items()},
        }


def marked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """With the cheapest, the fastest, and the front between them."""
    cheapest = min((each.usd for each in candidates if each.usd is not None), default=None)
    fastest = min((each.hours for each in candidates), default=None)
    front = _front(candidates)
    found = []
    for candidate in candidates:
        is_cheapest = candidate.usd is not None and candidate.usd == cheapest
        is_fastest = candidate.hours == fastest
        if is_cheapest or is_fastest or id(candidate) in front:
            candidate = replace(
                candidate,
                is_cheapest=is_cheapest,
                is_fastest=is_fastest,
                on_front=id(candidate) in front,
            )
        found.append(candidate)
    return found


def _front(candidates: Sequence[Candidate]) -> set[int]:
    """Identities of those that no other beats in dollars and in hours."""
    priced = [(each.hours, each.usd, each) for each in candidates if each.usd is not None]
    front: set[int] = set()
    best = (math.inf, math.inf)
    for hours, usd, candidate in sorted(priced, key=lambda each: each[:2]):
        if usd < best[1] or (hours, usd) == best:
            best = hours, usd
            front.add(id(candidate))
    return front


def by_cost(candidate: Candidate) -> tuple[float, float]:
    """A key: dollars, then hours; last where no price is known."""
    return math.inf if candidate.usd is None else candidate.usd, candidate.hours


def by_time(candidate: Candidate) -> tuple[float, float]:
    """A key: hours, then dollars."""
    return candidate.hours, math.inf if candidate.usd is None else candidate.usd

"""What `stoker plan --compare` ranks, as rows to choose from."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.run.lines import clean
from stoker_tui.models.plan_view import Json, memory_share, method_of, short_hours, usd_words


@dataclass(frozen=True)
class CandidateView:
    """One way to train it that fits."""

    key: str
    gpu: str
    gpus: int
    nodes: int
    method: str
    """`lora`, `qlora`; empty where only the recipe's own method was looked at."""
    engine: str
    checkpointing: str
    offload: str
    rows: str
    """Rows of a micro-batch and how many are added up: `2 x 4`."""
    total: float
    """Bytes of one GPU."""
    capacity: float
    hours: float
    usd: float | None
    is_cheapest: bool
    is_fastest: bool
    is_on_front: bool
    row: Json
    """As the bench has it; what choosing it changes in the recipe follows from that."""
    to_fill_in: tuple[str, ...]
    """Keys that it needs and whose values are not known."""

    @property
    def machine(self) -> str:
        """`8 x h100-80gb on 2`."""
        return f"{self.gpus} x {self.gpu}" + (f" on {self.nodes}" if self.nodes > 1 else "")

    @property
    def marks(self) -> str:
        """In words what is best about it."""
        words = ["cheapest"] * self.is_cheapest + ["fastest"] * self.is_fastest
        return ", ".join(words or ["front"] * self.is_on_front)

    @property
    def memory(self) -> str:
        """`75.7 GB`, and its share of the GPU."""
        return memory_share(self.total, self.capacity)

    @property
    def money(self) -> str:
        """`$26.43`, or a dash where no price is known."""
        return usd_words(self.usd)

    @property
    def time(self) -> str:
        """`1.24 h`, in minutes or seconds where it is less."""
        return short_hours(self.hours)

    @property
    def words(self) -> str:
        """`8 x h100-80gb fsdp-full_shard`, on one line."""
        return " ".join(part for part in (self.machine, self.method, self.engine) if part)


@dataclass(frozen=True)
class ComparisonView:
    """Candidates in the order in which they were ranked, and what was left out."""

    candidates: tuple[CandidateView, ...]
    fitting: int
    considered: int
    refused: tuple[str, ...]
    notes: tuple[str, ...]


def comparison_view(comparison: Json) -> ComparisonView:
    """Of the JSON of `stoker plan --compare`. Raises KeyError or TypeError for another shape."""
    found = enumerate(comparison["candidates"])
    return ComparisonView(
        candidates=tuple(candidate_view(str(place), each) for place, each in found),
        fitting=comparison["fitting"],
        considered=comparison["considered"],
        refused=tuple(f"{clean(why)} ({count})" for why, count in comparison["refused"].items()),
        notes=tuple(map(clean, comparison["notes"])),
    )


def candidate_view(key: str, found: Json) -> CandidateView:
    """Of one candidate of that JSON."""
    values = found["values"]
    return CandidateView(
        key=key,
        gpu=clean(found["gpu"]),
        gpus=found["gpus"],
        nodes=found["nodes"],
        method=clean(method_of(values)) if "method" in values else "",
        engine=clean(values["engine"]),
        checkpointing=clean(values["checkpointing"]),
        offload=clean(values["offload"]),
        rows=f"{found['micro_batch_size']} x {found['accumulation']}",
        total=found["total_bytes"],
        capacity=found["capacity_bytes"],
        hours=found["hours"],
        usd=found["cost_usd"],
        is_cheapest=found["cheapest"],
        is_fastest=found["fastest"],
        is_on_front=found["on_front"],
        row=found,
        to_fill_in=tuple(map(str, found["to_fill_in"])),
    )

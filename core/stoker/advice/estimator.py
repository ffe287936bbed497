"""What advice needs of a planner: does it fit, how long does it take, what does it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from stoker.plan.time import Span


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to train, complete enough to be planned, checked and written down."""

    model: str
    method: str
    """`full`, `lora` or `qlora`."""
    values: Mapping[str, str]
    """Axis -> value; axes that are missing have their default."""
    tables: Mapping[str, Mapping[str, Any]]
    """The plugin tables of a recipe that asks for these values."""
    gpu: str
    gpus: int
    """On all nodes together."""
    nodes: int
    rows: int
    """Of one epoch."""
    epochs: float
    row_tokens: int
    """Of the longest row."""
    mean_tokens: int
    """Of a row."""
    batch_size: int
    micro_batch_size: int

    @property
    def precision(self) -> str:
        """The regime: `train.precision`."""
        return self.values["precision"]

    @property
    def gpus_per_node(self) -> int:
        """Ranks on each node."""
        return self.gpus // self.nodes

    @property
    def accumulation(self) -> int:
        """Micro-batches of a rank in a step."""
        return self.batch_size // (self.gpus * self.micro_batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run; the last one of an epoch may have fewer rows."""
        return max(1, round(self.rows * self.epochs / self.batch_size))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A planner's answer."""

    fits: bool
    total_bytes: float
    """Of one GPU, reserved memory and context included."""
    capacity_bytes: float
    per_gpu: Mapping[str, float]
    """Bytes by component."""
    host_bytes: float
    """Of one node."""
    hours: Span
    usd: Span | None
    """On demand; None where no price is known."""
    spot_usd: Span | None
    """With work that is expected to be done again; None where no spot price is known."""
    provider: str = ""
    """Whose price it is; empty where none is known. Spot machines may be another's."""
    spot_provider: str = ""
    notes: tuple[str, ...] = field(default=())


class Planner(Protocol):
    """Estimates candidates. What it calls fitting is what `plan --assert-fits` lets pass."""

    def estimate(self, candidate: Candidate) -> Estimate:
        """Raises `UsageError` for a model or GPU that it does not know."""

    def memory_bytes(self, gpu: str) -> float:
        """Of a GPU type. Raises `UsageError` for one that is not known."""

    def has_bf16(self, gpu: str) -> bool:
        """Whether it computes in bfloat16."""

    def gpus(self) -> list[str]:
        """All GPU types, those with less memory first."""

    def num_parameters(self, model: str) -> float:
        """Raises `UsageError` for a model that is not known."""

    def max_positions(self, model: str) -> int:
        """Tokens of the longest row that a model takes. Raises `UsageError` as above."""

    def known_models(self) -> Mapping[str, float]:
        """Parameters of the models that are known by name."""

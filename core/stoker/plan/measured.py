"""What a step really held in memory, as `python -m stoker.train.measuring` tells it. Torch-free."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from stoker.errors import MissingRequirementError
from stoker.plan.situation import MicroBatch

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe


@dataclass(frozen=True)
class Setting:
    """What is measured beside the recipe."""

    micro_batch: MicroBatch
    """Every micro-batch of every rank has this size."""
    packed: bool = False
    """One row of documents of `longest_document` positions each; the last may be shorter."""
    ranks: int = 1
    nodes: int = 1
    """Among which ranks that do not exist are dealt; real ones are all here."""
    accumulation: int = 1
    """Micro-batches of a rank in a step."""
    fake: bool = False
    """Tensors without memory, and a process group in which no other rank exists."""

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**{**values, "micro_batch": MicroBatch(**values["micro_batch"])})


@dataclass(frozen=True)
class Alive:
    """Storages of one kind at a peak."""

    component: str
    operation: str
    """What allocated them."""
    shape: tuple[int, ...]
    dtype: str
    count: int
    num_bytes: int
    """Of all of them."""


@dataclass(frozen=True)
class Measured:
    """Bytes of tensors that were alive on one rank in a steady step, at the peak of each moment."""

    moments: Mapping[str, Mapping[str, int]]
    """Component -> bytes, by moment: as `MemoryEstimate` has it."""
    alive: Mapping[str, tuple[Alive, ...]]
    """What these bytes were, the largest first, by moment."""
    rank: int
    seconds: float
    """That building and three steps took."""

    @property
    def peak_moment(self) -> str:
        """The moment with the most bytes."""
        return max(self.moments, key=lambda moment: sum(self.moments[moment].values()))

    @property
    def per_component(self) -> Mapping[str, int]:
        """Bytes at the peak."""
        return self.moments[self.peak_moment]

    @property
    def allocated(self) -> int:
        """Bytes of tensors at the peak."""
        return sum(self.per_component.values())

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave, also after a way through JSON."""
        alive = {
            moment: tuple(Alive(**{**each, "shape": tuple(each["shape"])}) for each in group)
            for moment, group in values["alive"].items()
        }
        return cls(**{**values, "alive": alive})


def measure_recipe(recipe: Recipe, setting: Setting, timeout_seconds: float = 600.0) -> Measured:
    """Build and train what `stoker run` would, in other processes, and say what the fullest rank held.

    Of the model, `config.json` is enough: its weights are random. Raises `MissingRequirementError` where
    torch or transformers are not installed, and `StokerError` for what cannot be built or measured.
    """
    from stoker.plan.measuring_ranks import MeasuringRanks

    if find_spec("transformers") is None or find_spec("torch") is None:
        raise MissingRequirementError(
            "to measure a plan is to train three steps, which needs torch and transformers.",
            hint="pip install 'stoker[train]'",
        )
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        num_processes = 1 if setting.fake else setting.ranks
        with MeasuringRanks(num_processes, Path(folder)) as ranks:
            return ranks.measure(recipe, setting, timeout_seconds)

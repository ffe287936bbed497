"""An estimate beside what was measured. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.plan.memory import COMPONENTS

if TYPE_CHECKING:
    from stoker.plan.measured import Measured
    from stoker.plan.memory import MemoryEstimate

_WORTH_COMPARING = 0.01
"""Share of the total below which a component says nothing: a few scalars."""


@dataclass(frozen=True)
class Comparison:
    """Of one setting."""

    estimate: MemoryEstimate
    measured: Measured

    @property
    def total_error(self) -> float:
        """Of bytes of tensors at the peak, relative to what was measured; positive: predicted more."""
        return self.estimate.allocated / self.measured.allocated - 1.0

    def moment_error(self, moment: str) -> float:
        """The same at the peak of one moment."""
        predicted = sum(self.estimate.moments[moment].values())
        return predicted / sum(self.measured.moments[moment].values()) - 1.0

    def component_errors(self) -> dict[str, float]:
        """Of each component at the measured peak's moment, where it is more than a hundredth of it."""
        moment = self.measured.peak_moment
        predicted, found = self.estimate.moments[moment], self.measured.moments[moment]
        least = _WORTH_COMPARING * self.measured.allocated
        return {name: predicted[name] / found[name] - 1.0 for name in COMPONENTS if found[name] > least}

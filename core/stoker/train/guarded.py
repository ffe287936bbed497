"""What every engine answers from its guard against non-finite gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stoker.train.finite import FiniteGuard


class GuardedEngine:
    """The part of the protocol `Engine` that is about steps which do not count."""

    device: torch.device
    guard: FiniteGuard
    can_rehearse = False
    calls_communicate = False
    streams_state = False

    def failed(self) -> Tensor:
        """The guard's verdict, on the engine's device."""
        return self.guard.failed.to(self.device)

    def skipped(self) -> Tensor:
        """The guard's count, on the engine's device."""
        return self.guard.num_skipped.to(self.device)

    def waited(self) -> list[float] | None:
        """Not known: where weights are gathered, too, ranks wait for each other in many places."""
        return None

    def save_state(self) -> dict[str, float]:
        """The state of loss scaling."""
        return self.guard.save_state()

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on with the state of loss scaling."""
        self.guard.load_state(state)

"""How long a rank waits for the gradients of others: from its own last one to everybody's.

That time holds the exchange itself, too. The rank that the others wait for has only that; so what a rank
has more than the least of all is time in which it could not go on. Nothing is synchronised for it: on
CUDA devices events are recorded, and read at log points, where the host waits anyway.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.hooks import RemovableHandle


class Mark(Protocol):
    """A moment on a device."""

    def seconds_since(self, earlier: Mark) -> float: ...


class HostMark:
    """Now, by the host's clock."""

    def __init__(self) -> None:
        self.moment = time.perf_counter()

    def seconds_since(self, earlier: Mark) -> float:
        """Seconds between two marks."""
        assert isinstance(earlier, HostMark)
        return self.moment - earlier.moment


class CudaMark:
    """When the device has done what was queued up to here."""

    def __init__(self) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record()

    def seconds_since(self, earlier: Mark) -> float:
        """Seconds between two marks; waits for this one."""
        assert isinstance(earlier, CudaMark)
        self.event.synchronize()
        return float(earlier.event.elapsed_time(self.event)) / 1000


class Arrival:
    """Notes, step by step, when this rank's last gradient was ready, and when all gradients were."""

    def __init__(self, parameters: Iterable[nn.Parameter], device: torch.device) -> None:
        self._mark: type[HostMark | CudaMark] = CudaMark if device.type == "cuda" else HostMark
        self._ready: Mark | None = None
        self._pairs: list[tuple[Mark, Mark]] = []
        self._latest: nn.Parameter | None = None
        self._hooks: dict[nn.Parameter, RemovableHandle] = {
            parameter: parameter.register_post_accumulate_grad_hook(self._note)
            for parameter in parameters
        }

    def complete(self) -> None:
        """All gradients of a step are what they are on every rank."""
        done = self._mark()
        self._pairs.append((self._ready or done, done))
        self._ready = None
        if len(self._hooks) > 1:
            self._keep_the_last()

    def read(self) -> list[float]:
        """Seconds of each step since the last call."""
        pairs, self._pairs = self._pairs, []
        return [done.seconds_since(ready) for ready, done in pairs]

    def _note(self, parameter: Tensor) -> None:
        self._ready = self._mark()
        self._latest = parameter  # type: ignore[assignment]

    def _keep_the_last(self) -> None:
        """From the second step on one gradient is enough: the one that came last in the first."""
        for parameter, hook in self._hooks.items():
            if parameter is not self._latest:
                hook.remove()
        self._hooks = {p: hook for p, hook in self._hooks.items() if p is self._latest}


def excess(waits: Sequence[Sequence[float]]) -> list[list[float]]:
    """What each rank waited in each step [ranks, steps] beyond the one that waited least."""
    least = [min(step) for step in zip(*waits, strict=True)]
    return [[own - low for own, low in zip(rank, least, strict=True)] for rank in waits]

"""Moments as seconds since another one, without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload


class Since(Sequence[float]):
    """A view of a growing column of moments."""

    def __init__(self, moments: Sequence[float], origin: float) -> None:
        self._moments = moments
        self._origin = origin

    def __len__(self) -> int:
        return len(self._moments)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [moment - self._origin for moment in self._moments[index]]
        return self._moments[index] - self._origin

"""An order whose steps have rows of like length: a pure function of the step, like the one it wraps."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stoker.data.order import derive_key, permute

if TYPE_CHECKING:
    from stoker.data.order import Order


class LengthGroupedOrder:
    """Wraps an order whose steps all have the same number of rows.

    The steps of an epoch are taken `window` at a time, the last window of it being shorter where they do
    not divide. Rows never leave their window, so an epoch takes what it takes in the wrapped order.
    """

    def __init__(self, order: Order, lengths: NDArray[np.integer], window: int, seed: int) -> None:
        """`lengths`: tokens of every row of the index. `window`: in steps."""
        self._order = order
        self._lengths = lengths
        self._window = window
        self._seed = seed
        self._batch_size = len(order.rows(1))
        # A few windows: prefetching looks ahead of the step that runs.
        self._grouped = lru_cache(maxsize=4)(self._group)

    @property
    def num_rows(self) -> int:
        """Rows in one epoch, repeats of weighted sources included."""
        return self._order.num_rows

    @property
    def steps_per_epoch(self) -> float:
        """Steps in one epoch, not always a whole number."""
        return self._order.steps_per_epoch

    def rows(self, step: int) -> list[int]:
        """Row numbers of the global batch of `step`, which counts from 1."""
        if step < 1:
            raise ValueError(f"steps count from 1, got {step}")
        first, stop = self._window_of(step)
        return self._grouped(first, stop)[step - first]

    def _window_of(self, step: int) -> tuple[int, int]:
        """Steps [first, stop) of the window that `step` is in."""
        epoch = (step - 1) * self._batch_size // self.num_rows
        begin, end = self._first_step(epoch), self._first_step(epoch + 1)
        first = begin + (step - begin) // self._window * self._window
        return first, min(first + self._window, end)

    def _first_step(self, epoch: int) -> int:
        """The first step that begins in this epoch."""
        return -(-epoch * self.num_rows // self._batch_size) + 1

    def _group(self, first: int, stop: int) -> list[list[int]]:
        """The rows of steps [first, stop), sorted by length and dealt to them again."""
        steps = [self._order.rows(step) for step in range(first, stop)]
        rows = np.concatenate(steps)
        # Stable: rows of one length stay in the order's own order, which differs from epoch to epoch.
        grouped = rows[np.argsort(self._lengths[rows], kind="stable")].reshape(len(steps), -1)
        key = derive_key(self._seed, "length window", first)
        places = permute(np.arange(len(steps), dtype=np.int64), len(steps), key)
        return [grouped[place].tolist() for place in places.tolist()]

"""`train.micro_batch_size = "auto"`: how many rows at once. Torch-free."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stoker.plan.gpus import Gpu

CPU_TOKENS = 2048
"""Positions of a micro-batch beyond which a CPU gains nothing: its matrix products are as fast as they
get with some hundreds of rows, and a larger batch only costs memory and padding."""


class Choice(NamedTuple):
    """A number of rows and how it came about, in words."""

    rows: int
    words: str


def even_sizes(batch_size: int, ranks: int) -> list[int]:
    """Rows of micro-batches that a rank's share of a step is cut into evenly, the largest first.

    One for each number of micro-batches: 7 rows in two are 4 and 3, so 5 and 6 are left out, which take
    as many forward passes and more memory.
    """
    share = -(-batch_size // ranks)
    return sorted({-(-share // parts) for parts in range(1, share + 1)}, reverse=True)


def useful_on_cpu(sizes: Sequence[int], tokens: Callable[[int], int]) -> Sequence[int]:
    """Those of at most `CPU_TOKENS` positions, or the smallest. `tokens` says how many there are."""
    place = bisect_left(sizes, True, key=lambda rows: tokens(rows) <= CPU_TOKENS)
    return sizes[place:] or sizes[-1:]


def largest_that_fits(sizes: Sequence[int], needed: Callable[[int], float], gpu: Gpu) -> Choice:
    """The first of `sizes` that needs at most the GPU's memory; the last where none does.

    `sizes` fall; `needed` gives bytes and grows with the rows.
    """
    place = bisect_left(sizes, True, key=lambda rows: needed(rows) <= gpu.memory_bytes)
    rows = sizes[min(place, len(sizes) - 1)]
    count = f"{rows} {'row' if rows == 1 else 'rows'}"
    if place == len(sizes):
        why = "and even that does not fit"
    elif place == 0:
        why = "more would save no forward pass" if gpu.name != "cpu" else "more would gain nothing"
    else:
        why = "the most that fit"
    return Choice(rows, f'train.micro_batch_size = "auto": {count}, {why}')

"""Rows of a step into bins: few, none above the capacity, and equally full.

Best-fit decreasing needs at most 11/9 of the fewest possible bins, and four (Johnson 1973). Longest
processing time first (Graham 1969) then levels them. Both are deterministic: of equals the first counts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from heapq import heapify, heapreplace


def fill_bins(lengths: Sequence[int], capacity: int, multiple: int = 1) -> list[list[int]]:
    """Bins of positions in `lengths`, the largest bin first, the longest row first in each.

    No bin holds more than `capacity` tokens, unless a single row does. Their number is a multiple of
    `multiple`, and each has a row where there are as many, but where only uneven bins hold them.
    """
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    fewest = best_fit(order, lengths, capacity)
    count = -(-len(fewest) // multiple) * multiple
    bins = level(order, lengths, count)
    if any(_overflows(bin, lengths, capacity) for bin in bins):
        bins = fewest + [[] for _ in range(count - len(fewest))]
    return sorted(bins, key=lambda bin: -sum(lengths[number] for number in bin))


def best_fit(order: Sequence[int], lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Each row into the fullest bin that has room for it, else into a new one."""
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []
    """(free tokens, bin), ascending."""
    for number in order:
        place = bisect_left(room, (lengths[number], 0))
        if place < len(room):
            free, chosen = room.pop(place)
        else:
            free, chosen = capacity, len(bins)
            bins.append([])
        bins[chosen].append(number)
        # A row longer than the capacity leaves less than nothing, where no row fits.
        insort(room, (free - lengths[number], chosen))
    return bins


def level(order: Sequence[int], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Each row, longest first, into the emptiest of `count` bins."""
    bins: list[list[int]] = [[] for _ in range(count)]
    loads = [(0, number) for number in range(count)]
    heapify(loads)
    for number in order:
        load, chosen = loads[0]
        bins[chosen].append(number)
        heapreplace(loads, (load + lengths[number], chosen))
    return bins


def _overflows(bin: Sequence[int], lengths: Sequence[int], capacity: int) -> bool:
    return len(bin) > 1 and sum(lengths[number] for number in bin) > capacity

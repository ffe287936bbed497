"""From changes to peaks: how many bytes each moment held at most, and what they were."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from stoker.plan.measured import Alive
from stoker.plan.memory import COMPONENTS
from stoker.train.measuring.storages import Allocation, Change

Held = Mapping[Allocation, int]
"""Bytes of storages that are alive at one time."""


def peaks(before: Held, changes: Iterable[Change]) -> dict[str, Held]:
    """What was alive at the peak of each moment, given what was alive before the first change.

    The first of equal peaks counts. A moment begins with what the one before it left.
    """
    changes = list(changes)
    total = sum(before.values())
    highest: dict[str, tuple[int, int]] = {}
    for position, change in enumerate(changes):
        if total > highest.get(change.moment, (-1, 0))[0]:
            highest[change.moment] = (total, position)
        total += change.num_bytes
        if total > highest[change.moment][0]:
            highest[change.moment] = (total, position + 1)
    return {moment: held_after(before, changes[:stop]) for moment, (_, stop) in highest.items()}


def held_after(before: Held, changes: Iterable[Change]) -> Held:
    """What is alive after these changes."""
    held = Counter(before)
    for change in changes:
        held[change.allocation] += change.num_bytes
    return {allocation: size for allocation, size in held.items() if size}


def by_component(held: Held, component_of: Callable[[Allocation], str]) -> dict[str, int]:
    """Bytes of every component, 0 where there are none."""
    sums = dict.fromkeys(COMPONENTS, 0)
    for allocation, size in held.items():
        sums[component_of(allocation)] += size
    return sums


def described(held: Held, component_of: Callable[[Allocation], str]) -> tuple[Alive, ...]:
    """Storages of one kind together, the largest sums first."""
    groups: dict[tuple[str, str, tuple[int, ...], str], list[int]] = defaultdict(list)
    for allocation, size in held.items():
        dtype = str(allocation.dtype).removeprefix("torch.")
        kind = (component_of(allocation), allocation.operation, allocation.shape, dtype)
        groups[kind].append(size)
    found = [Alive(*kind, count=len(sizes), num_bytes=sum(sizes)) for kind, sizes in groups.items()]
    return tuple(sorted(found, key=lambda alive: -alive.num_bytes))

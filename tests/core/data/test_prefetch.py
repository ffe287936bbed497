from __future__ import annotations

import threading
import time

import pytest

from stoker.data.prefetch import Prefetcher


def test_items_come_in_order() -> None:
    with Prefetcher(lambda number: number * number, range(5)) as items:
        assert list(items) == [0, 1, 4, 9, 16]


def test_the_next_items_are_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(4)]
    with Prefetcher(lambda number: made[number].set(), range(4), depth=2) as items:
        next(items)
        assert made[1].wait(5)
        assert made[2].wait(5)
        time.sleep(0.05)
        assert not made[3].is_set(), "no further ahead than its depth"


def test_an_error_is_raised_where_its_item_would_have_come() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise OSError("disk")
        return number

    with Prefetcher(make, range(4)) as items:
        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(OSError, match="disk"):
            next(items)


def test_closing_early_ends_the_thread() -> None:
    before = threading.active_count()
    items = Prefetcher(lambda number: number, range(1000))
    next(items)
    items.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(items)

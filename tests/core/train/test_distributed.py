"""How ranks meet, and that either all go on from there or none."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch._C._distributed_c10d import FileStore

from stoker.errors import Interrupted
from stoker.run.directory import RunDirectory
from stoker.train.distributed import leave, meet


class Rank(threading.Thread):
    """One of two ranks in `meet`."""

    def __init__(self, folder: Path, rank: int) -> None:
        super().__init__(daemon=True)
        self.stopped = False
        self.error: Interrupted | None = None
        self.run_ = SimpleNamespace(
            store=FileStore(str(folder / "store"), 2),
            rank=rank,
            world_size=2,
            directory=RunDirectory(folder / "fire"),
            attempt=1,
        )

    def leave(self) -> None:
        leave(self.run_.store, self.run_.directory, self.run_.attempt)

    def raise_if_stopped(self) -> None:
        if self.stopped:
            raise Interrupted("received SIGTERM")

    def run(self) -> None:
        try:
            meet(self.run_, self.raise_if_stopped)  # type: ignore[arg-type]
        except Interrupted as error:
            self.error = error


@pytest.fixture
def ranks(tmp_path: Path) -> list[Rank]:
    return [Rank(tmp_path, 0), Rank(tmp_path, 1)]


def end(*ranks: Rank) -> list[bool]:
    """Whether each has left."""
    for rank in ranks:
        rank.join(timeout=20)
        assert not rank.is_alive()
    return [rank.error is not None for rank in ranks]


def test_all_go_on_when_all_are_there(ranks: list[Rank]) -> None:
    ranks[0].start()
    time.sleep(0.2)
    assert ranks[0].is_alive()
    ranks[1].start()
    assert end(*ranks) == [False, False]


def test_one_that_is_stopped_while_it_waits_takes_a_slower_one_along(ranks: list[Rank]) -> None:
    """It had said that it was ready: the slower one would go on and wait for it for ever."""
    ranks[0].start()
    time.sleep(0.2)
    ranks[0].stopped = True
    assert end(ranks[0]) == [True]
    ranks[1].start()
    assert end(ranks[1]) == [True]


def test_one_that_failed_before_is_not_waited_for(ranks: list[Rank]) -> None:
    ranks[0].start()
    ranks[1].leave()
    assert end(ranks[0]) == [True]


def test_once_all_go_on_a_signal_comes_too_late_to_leave_alone(ranks: list[Rank]) -> None:
    """The next collective asks about signals."""
    ranks[0].start()
    ranks[1].start()
    assert end(*ranks) == [False, False]
    ranks[0].leave()
    late = Rank.__new__(Rank)
    threading.Thread.__init__(late, daemon=True)
    late.stopped, late.error, late.run_ = True, None, ranks[1].run_
    late.start()
    assert end(late) == [False]


def test_of_a_signal_and_an_arrival_at_the_same_moment_one_wins_for_both(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        ranks = [Rank(folder, 0), Rank(folder, 1)]
        ranks[number % 2].start()
        time.sleep(0.01)
        ranks[number % 2].stopped = True
        ranks[1 - number % 2].start()
        assert len(set(end(*ranks))) == 1


def test_one_run_that_was_left_says_nothing_of_the_next_of_the_same_ranks(tmp_path: Path) -> None:
    """Of ranks that train one run after the other."""
    first = Rank(tmp_path, 0)
    first.leave()
    ranks = [Rank(tmp_path, 0), Rank(tmp_path, 1)]
    for rank in ranks:
        rank.run_.directory = RunDirectory(tmp_path / "water")
        rank.start()
    assert end(*ranks) == [False, False]

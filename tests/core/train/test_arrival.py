"""How long ranks wait for each other's gradients, and what is not counted as waiting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from stoker.testing import tiny_fit
from stoker.train.arrival import Arrival, excess

FIT = f"{Path(__file__).with_name('arrival_work.py')}:fit"
SLOW_SECONDS = 0.1


@pytest.fixture(scope="module")
def ranks(
    rank_pool: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What two ranks say of a run of which the second is slow; a GPU second costs a dollar."""
    folder, cost = str(tmp_path_factory.mktemp("fit")), {"cost": {"usd_per_gpu_hour": 3600.0}}
    return rank_pool(2).call(FIT, folder=folder, seconds=SLOW_SECONDS, plugins=cost)


def test_the_rank_that_is_ready_waits_for_the_slow_one(ranks: list[dict[str, Any]]) -> None:
    fast, slow = (median(row["wait_seconds"] for row in rank["rows"]) for rank in ranks)
    assert fast == pytest.approx(SLOW_SECONDS, rel=0.5)
    assert slow < SLOW_SECONDS / 5


def test_all_ranks_know_what_was_lost_together(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["rows"] for rank in ranks)
    assert [row["idle_seconds"] for row in first] == [row["idle_seconds"] for row in second]
    for a, b in zip(first, second, strict=True):
        assert a["idle_seconds"] == pytest.approx(a["wait_seconds"] + b["wait_seconds"])


def test_what_idle_ranks_cost_stands_in_the_cost_events(ranks: list[dict[str, Any]]) -> None:
    idle = sum(row["idle_seconds"] for row in ranks[0]["rows"])
    assert ranks[0]["costs"][-1]["idle_usd"] == pytest.approx(idle)


def test_a_rank_alone_waits_for_nobody(tmp_path: Path) -> None:
    (step, *_) = tiny_fit(tmp_path).of_kind("step")
    assert "wait_seconds" not in step
    assert "idle_seconds" not in step


def test_where_weights_are_gathered_waits_are_not_known(
    rank_pool: Callable[[int], Any], tmp_path: Path
) -> None:
    both = rank_pool(2).call(FIT, folder=str(tmp_path), seconds=0.0, plugins={"fsdp": {}})
    assert all("wait_seconds" not in row for rank in both for row in rank["rows"])


def test_only_the_gradient_that_came_last_is_watched_from_the_second_step_on() -> None:
    layers = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)))
    arrival = Arrival(layers.parameters(), torch.device("cpu"))
    for _ in range(3):
        layers(torch.ones(2, 4)).sum().backward()
        arrival.complete()
    assert len(arrival._hooks) == 1
    (waits, nothing) = arrival.read(), arrival.read()
    assert len(waits) == 3
    assert all(0 <= wait < 1 for wait in waits)
    assert nothing == []


def test_the_least_wait_of_a_step_is_the_exchange_itself() -> None:
    assert excess([[0.5, 0.1], [0.2, 0.4]]) == [[0.3, 0.0], [0.0, pytest.approx(0.3)]]

"""SIGTERM as the notice."""

from __future__ import annotations

import time
from typing import Any

import pytest


@pytest.mark.parametrize(("provider", "grace"), [("slurm", 30), ("kubernetes", 30), ("runpod", 5)])
@pytest.mark.parametrize("local_rank", [0, 1])
def test_sigterm_is_a_notice_on_every_rank_that_gets_one(
    start: Any, spot_threads: Any, provider: str, grace: float, local_rank: int
) -> None:
    watch = start(local_rank, provider=provider)
    assert watch.notice() is None
    watch.run.signals.stopped_at = time.monotonic() - 1
    watch.run.signals.stop = "SIGTERM"
    notice = watch.notice()
    assert (notice.provider, notice.leave) == (provider, True)
    assert notice.deadline == watch.run.signals.stopped_at + grace
    assert watch.notice() == notice, "asked again, it is the same"
    assert spot_threads() == []


def test_the_recipe_knows_better_how_long_a_signal_leaves(start: Any) -> None:
    watch = start(provider="kubernetes", grace_seconds=600)
    watch.run.signals.stop, watch.run.signals.stopped_at = "SIGTERM", 100.0
    assert watch.notice().deadline == 700.0


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_somebody_who_stops_the_run_takes_no_machine_away(start: Any, name: str) -> None:
    watch = start(provider="slurm")
    watch.run.signals.stop = name
    assert watch.notice() is None

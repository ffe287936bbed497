"""Hours into dollars, and what interruptions add."""

from __future__ import annotations

import random
import statistics
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.checkpoint.interval import young_daly_seconds
from stoker.plan.cost import (
    Interruptions,
    estimate_cost,
    expected_seconds,
    interval_seconds,
)
from stoker.plan.prices import Price
from stoker.plan.time import Span, TimeEstimate

HOUR = 3600.0


def a_price(low: float, high: float, *, spot: bool = False) -> Price:
    return Price("h100-80gb", "mine", low, high, spot, date(2026, 11, 1), "2026-11-01", "a bill")


def a_time(hours: float) -> TimeEstimate:
    span = Span(hours * HOUR * 0.9, hours * HOUR, hours * HOUR * 1.1)
    step = Span(0.9, 1, 1.1)
    return TimeEstimate(step, span, 1, 0, 0, 0, 0, 0, 0, step, 0.4, 0.4)


def simulated_seconds(work: float, faults: Interruptions, rng: random.Random) -> float:
    """One run, told second by second in words: train, save, be taken away, start again."""
    interval = interval_seconds(faults)
    clock, kept = 0.0, 0.0
    while True:
        left = work - kept
        until_fault = rng.expovariate(1 / faults.mean_seconds)
        start = faults.restart_seconds if clock else 0.0
        pauses = int(left // interval) * faults.stall_seconds
        if until_fault >= start + left + pauses:
            return clock + start + left + pauses
        training = until_fault - start
        durable = int((training - faults.commit_seconds) // (interval + faults.stall_seconds))
        kept += max(0, durable) * interval
        clock += until_fault


@pytest.mark.parametrize(
    ("hours", "faults"),
    [
        (10, Interruptions(mean_seconds=6 * HOUR, commit_seconds=60, restart_seconds=600)),
        (48, Interruptions(mean_seconds=3 * HOUR, commit_seconds=120, restart_seconds=900)),
        (24, Interruptions(2 * HOUR, 30, stall_seconds=5, restart_seconds=300)),
        (30, Interruptions(4 * HOUR, 60, restart_seconds=600, interval_seconds=2 * HOUR)),
    ],
)
def test_the_expectation_is_that_of_ten_thousand_simulated_runs(
    hours: float, faults: Interruptions
) -> None:
    rng = random.Random(1)
    seen = statistics.fmean(simulated_seconds(hours * HOUR, faults, rng) for _ in range(10_000))
    assert expected_seconds(hours * HOUR, faults) == pytest.approx(seen, rel=0.05)


def test_the_young_daly_interval_is_the_cheapest_within_a_few_per_cent() -> None:
    faults = Interruptions(mean_seconds=6 * HOUR, commit_seconds=60, stall_seconds=60)
    best = expected_seconds(1e5, faults)
    for factor in (0.25, 0.5, 2, 4):
        other = Interruptions(
            6 * HOUR, 60, 60, interval_seconds=factor * young_daly_seconds(60, 6 * HOUR)
        )
        assert expected_seconds(1e5, other) >= best * 0.99


def test_without_interruptions_nothing_is_added() -> None:
    assert expected_seconds(1e4, Interruptions(float("inf"), 60)) == 1e4


def test_a_machine_that_never_lives_to_train_costs_for_ever() -> None:
    assert expected_seconds(1e4, Interruptions(10, 60, restart_seconds=600)) == float("inf")


@given(
    mean=st.floats(1e4, 1e6),
    commit=st.floats(1, 600),
    machines=st.integers(1, 16),
    work=st.floats(1, 1e6),
)
def test_interruptions_never_save_time_and_more_machines_never_lose_less(
    mean: float, commit: float, machines: int, work: float
) -> None:
    faults = Interruptions(mean, commit)
    one = expected_seconds(work, faults)
    assert one >= work
    assert expected_seconds(work, faults, machines) >= one * (1 - 1e-9)


def test_dollars_are_hours_times_price_times_gpus() -> None:
    cost = estimate_cost(a_time(10), 8, on_demand=a_price(2, 4), tokens=2e6)
    assert cost.on_demand_usd is not None
    assert (cost.on_demand_usd.low, cost.on_demand_usd.mid) == pytest.approx((144, 240))
    assert cost.on_demand_usd.high == pytest.approx(352)
    assert cost.usd_per_million_tokens == pytest.approx(120)
    assert cost.spot_usd is None
    assert "disks" in cost.notes[0]


def test_provisioning_is_paid_once() -> None:
    cost = estimate_cost(a_time(1), 1, on_demand=a_price(1, 1), provisioning_seconds=1800)
    assert cost.on_demand_usd is not None
    assert cost.on_demand_usd.mid == pytest.approx(1.5)


def test_spot_is_cheaper_by_its_price_and_dearer_by_what_is_done_twice() -> None:
    faults = Interruptions(mean_seconds=3 * HOUR, commit_seconds=60, restart_seconds=600)
    cost = estimate_cost(
        a_time(10), 8, on_demand=a_price(4, 4), spot=a_price(1, 1, spot=True), interruptions=faults
    )
    assert cost.spot_usd is not None
    assert cost.on_demand_usd is not None
    assert cost.on_demand_usd.mid / 4 < cost.spot_usd.mid < cost.on_demand_usd.mid / 3
    assert cost.spot_hours is not None
    assert cost.spot_hours.mid > 10


def test_without_a_price_there_are_hours_and_no_dollars() -> None:
    cost = estimate_cost(a_time(10), 8, on_demand=None)
    assert cost.on_demand_usd is None
    assert cost.hours.mid == 10

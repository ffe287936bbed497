"""How often to save."""

from __future__ import annotations

import pytest

from stoker.checkpoint.interval import (
    Interval,
    mean_seconds_between,
    parse_interval,
    young_daly_seconds,
)

HOUR = 3600.0


def test_the_interval_is_as_young_and_daly_have_it() -> None:
    """A minute to save and 6 hours between interruptions: every 27 minutes."""
    assert young_daly_seconds(60, 6 * HOUR) == pytest.approx(1609.97, abs=0.01)


def test_the_mean_time_between_interruptions_follows_what_the_run_has_seen() -> None:
    assert mean_seconds_between({}, 6 * HOUR) == 6 * HOUR
    facts = {"interruptions": 3, "observed_seconds": 4 * HOUR, "attempt_seconds": 2 * HOUR}
    assert mean_seconds_between(facts, 6 * HOUR) == 3 * HOUR


@pytest.mark.parametrize(
    ("every", "interval"),
    [
        ("auto", Interval(is_auto=True)),
        ("200 steps", Interval(steps=200)),
        ("30 s", Interval(seconds=30.0)),
        ("10 min", Interval(seconds=600.0)),
        ("2 h", Interval(seconds=7200.0)),
    ],
)
def test_an_interval_is_stated_in_steps_seconds_minutes_or_hours(every: str, interval: Interval) -> None:
    assert parse_interval(every) == interval

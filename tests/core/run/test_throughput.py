"""How fast a run trains, from its events."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.run.throughput import Steps


def step(number: int, seconds: float, *, attempt: int = 1, **parts: float) -> dict[str, Any]:
    """A `step` event: 100 tokens a step, 40 of them supervised."""
    tokens = {"tokens": 100 * number, "supervised_tokens": 40 * number}
    return {
        "kind": "step",
        "attempt": attempt,
        "step": number,
        "step_seconds": seconds,
        **tokens,
        **parts,
    }


def test_the_first_step_of_an_attempt_and_earlier_attempts_do_not_count() -> None:
    steps = Steps()
    assert steps.result() is None
    for event in (step(1, 9.0), step(2, 9.0), step(2, 50.0, attempt=2), step(1, 9.0)):
        steps.take(event)
    assert steps.result() is None
    for event in (step(3, 1.0, attempt=2), step(4, 3.0, attempt=2)):
        steps.take(event)
    found = steps.result()
    assert found is not None
    assert (found.attempt, found.steps, found.shares) == (2, 2, None)
    assert found.tokens_per_second == 50
    assert found.supervised_tokens_per_second == 20


def test_shares_add_up_and_what_is_beside_the_steps_is_apart() -> None:
    steps = Steps()
    parts: Any = {"data_seconds": 1.0, "forward_seconds": 2.0, "backward_seconds": 4.0}
    for number in (1, 2, 3):
        steps.take(step(number, 10.0, wait_seconds=1.0, **parts, optimizer_seconds=1.0))
    steps.take({"kind": "evaluate", "attempt": 1, "step": 3, "seconds": 7.0})
    steps.take(step(4, 10.0, saving_seconds=5.0, **parts))
    found = steps.result()
    assert found is not None
    assert found.shares is not None
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["backward"] == pytest.approx(0.4)
    assert (found.saving_seconds, found.evaluating_seconds) == (5, 7)


def test_percentiles_of_very_many_steps_are_kept_in_little_memory() -> None:
    steps = Steps()
    for number in range(1, 50_001):
        steps.take(step(number, 1.0 if number % 10 else 2.0))
    found = steps.result()
    assert found is not None
    assert len(steps._sample) <= 4096
    assert found.step_seconds_p50 == 1
    assert found.step_seconds_p95 == 2

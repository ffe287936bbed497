"""The learning rate is a pure function of the step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.recipe.schema import TrainTable
from stoker.train.schedule import make_schedule, warmup_steps


def rates(total: int, **train: object) -> list[float]:
    table = TrainTable(steps=total, **{"learning_rate": 1.0, "warmup": 0, **train})
    schedule = make_schedule(table, total)
    return [schedule(step) for step in range(1, total + 1)]


def test_warmup_rises_evenly_to_the_peak_in_the_step_after_it() -> None:
    assert rates(6, schedule="constant", warmup=3) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_warmup_below_one_is_a_share_of_all_steps() -> None:
    assert warmup_steps(0.03, 1000) == 30
    assert warmup_steps(100, 1000) == 100


def test_linear_falls_to_zero_one_step_after_the_last() -> None:
    assert rates(4, schedule="linear") == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    values = rates(100, schedule="cosine")
    assert values[0] == 1.0
    assert values[50] == pytest.approx(0.5)
    assert values[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))


def test_wsd_is_flat_and_then_decays_over_the_last_share() -> None:
    values = rates(10, schedule="wsd", decay=0.4)
    assert values[:7] == pytest.approx([1.0] * 7)
    assert values[6:] == pytest.approx([1.0, 0.75, 0.5, 0.25])


@given(
    shape=st.sampled_from(["constant", "linear", "cosine", "wsd"]),
    total=st.integers(1, 300),
    warmup=st.integers(0, 400) | st.floats(0, 0.99),
)
def test_every_step_learns_and_none_exceeds_the_peak(shape: str, total: int, warmup: float) -> None:
    values = rates(total, schedule=shape, warmup=warmup)
    assert all(0 < value <= 1.0 for value in values)

"""The time of a step beside runs that others published and nothing was fitted to."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def plan_time(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("plan_time")


def test_model_sizes_kept_aside_are_within_five_per_cent_and_nine_in_ten_within_twelve(
    plan_time: ModuleType,
) -> None:
    runs = [run for run in plan_time.read_runs() if run.source == "llm-foundry"]
    kept_aside = [run for run in runs if not run.is_fitted]
    assert {run.model for run in kept_aside}.isdisjoint(run.model for run in runs if run.is_fitted)
    errors = sorted(abs(run.error()) for run in kept_aside)
    assert len(errors) > 80
    assert statistics.median(errors) < 0.05
    assert errors[int(0.9 * len(errors))] < 0.12


def test_other_trainers_on_the_same_types_are_within_the_range_that_is_given(
    plan_time: ModuleType,
) -> None:
    others = [run for run in plan_time.read_runs() if run.source != "llm-foundry"]
    for run in others:
        constants = plan_time.attained(run.gpu)
        assert abs(run.error()) < constants.spread, run

"""The time of a step beside runs that others published and nothing was fitted to."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "plan_time.py"


@pytest.fixture(scope="module")
def plan_time() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("plan_time", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plan_time"] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plan_time"]


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

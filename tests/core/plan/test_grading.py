"""Predicted against measured, when an attempt is over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.plan.gpus import find_gpu
from stoker.plan.grading import ENOUGH_STEPS, WARM_UP_STEPS, grade, measure, predicted, read_plan
from stoker.plan.history import read_history
from stoker.plan.plan import Target, make_plan
from stoker.plan.prices import given_price, load_prices
from stoker.plan.shape import plan_as_dict
from stoker.recipe.model import Recipe
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.run.ledger import Tariff
from stoker.run.meter import Meter

STEPS = 20

Plan = dict[str, Any]


@pytest.fixture
def recipe(recipe_of: Callable[..., Recipe], write_rows: Callable[..., dict[str, Any]]) -> Recipe:
    return recipe_of(write_rows("rows.jsonl", [100] * 50), train__steps=STEPS)


@pytest.fixture
def plan(recipe: Recipe) -> Plan:
    target = Target(find_gpu("h100-80gb"), prices=load_prices())
    return plan_as_dict(make_plan(recipe, target.at(given_price("h100-80gb", 2.0, "--price"))))


@pytest.fixture
def directory(tmp_path: Path, recipe: Recipe) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", "planned", recipe)


def train(directory: RunDirectory, steps: int, *, attempt: int = 1, seconds: float = 0.5) -> None:
    """Events of an attempt whose first steps took ten times as long, on two ranks."""
    for rank, extra in ((0, 0), (1, 500)):
        events = EventWriter(directory.events_path, attempt, rank)
        for step in range(1, steps + 1) if rank == 0 else ():
            slow = 10 if step <= WARM_UP_STEPS else 1
            events.write("step", step=step, step_seconds=slow * seconds, tokens_per_second=400 / seconds)
        events.write("peak_memory", allocated=1000 + extra, reserved=2000 + extra)
        events.close()


def graded(directory: RunDirectory) -> dict[str, Any]:
    plan = read_plan(directory)
    assert plan is not None
    found: dict[str, Any] = plan["grade"]
    return found


def test_medians_of_steps_after_the_first_and_the_peak_of_the_fullest_rank(
    directory: RunDirectory, plan: Plan
) -> None:
    train(directory, STEPS)
    grade(directory, 1, plan, plan)
    found = graded(directory)
    assert found["attempt"] == 1
    assert found["measured"] == {
        "step_seconds": 0.5,
        "tokens_per_second": 800.0,
        "allocated_bytes": 1500,
        "reserved_bytes": 2500,
    }
    assert found["ratio"]["step_seconds"] == pytest.approx(0.5 / plan["step_seconds"]["mid"])
    assert found["ratio"]["allocated_bytes"] == 1500 / plan["per_gpu"]["allocated"]
    assert found["predicted"].keys() == found["measured"].keys()
    kept = read_plan(directory)
    assert kept is not None
    assert {key: kept[key] for key in plan} == json.loads(json.dumps(plan))


def test_reserved_is_compared_without_the_context(plan: Plan) -> None:
    sizes = plan["per_gpu"]
    assert predicted(plan)["reserved_bytes"] == sizes["total"] - sizes["context"]
    assert predicted(plan)["resident_bytes"] == sizes["allocated"] + plan["host_bytes"]


def test_steps_of_other_attempts_do_not_count(directory: RunDirectory, plan: Plan) -> None:
    train(directory, STEPS, attempt=1, seconds=9.0)
    train(directory, STEPS, attempt=2)
    grade(directory, 2, plan, plan)
    assert graded(directory)["measured"]["step_seconds"] == 0.5


def test_too_few_steps_say_nothing_of_speed(directory: RunDirectory, plan: Plan) -> None:
    train(directory, WARM_UP_STEPS + ENOUGH_STEPS - 1)
    grade(directory, 1, plan, plan)
    assert graded(directory)["measured"].keys() == {"allocated_bytes", "reserved_bytes"}
    assert read_history("h100-80gb") == []


def test_an_attempt_that_measured_nothing_leaves_the_plan_alone(
    directory: RunDirectory, plan: Plan
) -> None:
    grade(directory, 1, plan, plan)
    assert read_plan(directory) is None


@pytest.mark.parametrize("steps", [STEPS, STEPS - 1])
def test_the_cost_is_compared_once_all_steps_are_done(
    directory: RunDirectory, plan: Plan, steps: int
) -> None:
    Meter(directory, Tariff(usd_per_gpu_hour=3.6e6, source="test"), attempt=1, gpus=1).start().stop()
    train(directory, steps)
    grade(directory, 1, plan, plan)
    assert ("cost_usd" in graded(directory)["ratio"]) == (steps == STEPS)


def test_a_run_is_remembered_by_a_plan_that_nothing_had_corrected(
    directory: RunDirectory, plan: Plan
) -> None:
    train(directory, STEPS)
    grade(directory, 1, plan, plan)
    (run,) = read_history("h100-80gb")
    assert (run.run, run.engine, run.method, run.precision) == ("planned", "default", "full", "fp32")
    assert run.predicted_step_seconds == plan["calibration"]["uncalibrated_step_seconds"]
    assert (run.step_seconds, run.bytes) == (0.5, 1500)
    assert run.predicted_bytes == plan["per_gpu"]["allocated"]


def test_the_next_plan_is_closer_and_says_why(
    directory: RunDirectory, plan: Plan, recipe: Recipe
) -> None:
    train(directory, STEPS)
    grade(directory, 1, plan, plan)
    after = make_plan(recipe, Target(find_gpu("h100-80gb")))
    assert after.time is not None
    assert after.time.step_seconds.mid == pytest.approx(0.5)
    notes = "\n".join(after.assumptions)
    assert "time: calibrated from 1 run on this machine, within 20%." in notes
    for _ in range(2):
        grade(directory, 1, plan, plan)
    again = make_plan(recipe, Target(find_gpu("h100-80gb")))
    assert again.time is not None
    assert "calibrated from 3 runs on this machine, within 5%." in "\n".join(again.assumptions)
    widths = [
        each["high"] / each["mid"]
        for each in (plan["step_seconds"], plan_as_dict(after)["step_seconds"])
    ]
    narrow = again.time.step_seconds
    assert narrow.high / narrow.mid < widths[1] < 1.4
    # What is remembered stays what the plan says of itself: no run corrects another's correction.
    assert again.uncalibrated_step_seconds == plan["calibration"]["uncalibrated_step_seconds"]


def test_data_that_were_counted_meanwhile_are_what_a_run_is_compared_with(
    directory: RunDirectory, plan: Plan
) -> None:
    unknown = {**plan, "tokens": None, "step_seconds": None, "tokens_per_second": None, "cost_usd": None}
    train(directory, STEPS)
    grade(directory, 1, unknown, plan)
    found = graded(directory)
    assert found["after_counting"]
    assert found["predicted"]["step_seconds"] == plan["step_seconds"]["mid"]
    grade(directory, 1, unknown, {"v": 1, "problem": "gone"})
    assert "step_seconds" not in graded(directory)["predicted"]


def test_positions_are_not_compared_with_tokens(plan: Plan) -> None:
    assert "tokens_per_second" in predicted(plan)
    assert "tokens_per_second" not in predicted({**plan, "tokens": None})


def test_the_plan_of_a_process_on_a_cpu_is_compared_with_resident_memory(
    directory: RunDirectory, plan: Plan
) -> None:
    events = EventWriter(directory.events_path, 1, 0)
    events.write("peak_memory", resident=3000)
    events.close()
    assert measure([{"kind": "peak_memory", "resident": 3000}]) == {"resident_bytes": 3000}
    grade(directory, 1, plan, plan)
    assert graded(directory)["predicted"] == {"resident_bytes": plan["per_gpu"]["allocated"]}


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_a_plan_that_cannot_be_read_is_none(directory: RunDirectory, text: str) -> None:
    directory.plan_path.write_text(text)
    assert read_plan(directory) is None

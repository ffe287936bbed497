"""Runs that were graded correct the plans that follow, on the same machine and of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.plan.architecture import read_architecture
from stoker.plan.gpus import find_gpu
from stoker.plan.history import (
    GradedRun,
    calibration_for,
    history_path,
    machine_alone,
    read_history,
    remember_run,
)
from stoker.plan.machine import MachineFacts, facts_path, read_machine, write_machine
from stoker.plan.situation import MicroBatch, Situation
from stoker.testing.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("cache")

RUN = GradedRun(
    t=1.0,
    run="a",
    gpu="h100-80gb",
    gpus=1,
    engine="default",
    method="full",
    precision="bf16_mixed",
    parameters=1000,
    predicted_step_seconds=1.0,
    step_seconds=1.2,
    predicted_bytes=1e9,
    bytes=1.1e9,
)
SITUATION = Situation(
    architecture=read_architecture(tiny_config()),
    precision="bf16_mixed",
    micro_batch=MicroBatch(1, 8, 7, 8),
    gpu=find_gpu("h100-80gb"),
)
VALUES = {"engine": "default", "method": "full", "precision": "bf16_mixed"}
MACHINE = MachineFacts("h100-80gb", 5.0, {"2": 4e14, "4": 5e13}, 2e12)

Taking = Callable[..., None]


@pytest.fixture
def took() -> Taking:
    """Remember runs that took so many seconds a step where the plan had said one."""

    def remember(*seconds: float, **changes: object) -> None:
        for each in seconds:
            remember_run(replace(RUN, step_seconds=each, **changes))  # type: ignore[arg-type]

    return remember


def test_a_run_is_remembered_by_the_type_of_its_gpu(took: Taking, cache: Path) -> None:
    took(1.2, 1.3)
    assert read_history("h100-80gb") == [RUN, replace(RUN, step_seconds=1.3)]
    assert read_history("a100-80gb") == []
    assert history_path("h100-80gb") == cache / "history" / "h100-80gb.jsonl"
    assert history_path("h100-80gb").stat().st_mode & 0o777 == 0o600


def test_only_the_latest_runs_count(took: Taking) -> None:
    took(*range(1, 61))
    assert [run.step_seconds for run in read_history(RUN.gpu)] == list(range(11, 61))


def test_lines_that_are_torn_or_of_another_version_are_passed_over(took: Taking) -> None:
    took(1.2)
    with history_path(RUN.gpu).open("a") as file:
        file.write('{"t": 1, "run":\n[]\n{"t": 1}\n')
    took(1.3)
    assert [run.step_seconds for run in read_history(RUN.gpu)] == [1.2, 1.3]


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(took: Taking, cache: Path) -> None:
    (cache / "history").parent.mkdir(parents=True, exist_ok=True)
    (cache / "history").write_text("a file where the folder was")
    took(1.2)
    assert read_history(RUN.gpu) == []


def test_where_nothing_was_measured_nothing_is_corrected() -> None:
    assert calibration_for(SITUATION, VALUES) is None
    assert machine_alone(SITUATION, 0.3) is None


def test_one_run_corrects_and_leaves_a_wide_range(took: Taking) -> None:
    took(1.2)
    found = calibration_for(SITUATION, VALUES)
    assert found is not None
    assert (found.ratio, found.spread, found.runs) == (1.2, 0.2, 1)


def test_several_runs_narrow_it_to_what_was_seen(took: Taking) -> None:
    took(1.2, 1.26, 1.14)
    found = calibration_for(SITUATION, VALUES)
    assert found is not None
    assert (found.ratio, found.runs) == (1.2, 3)
    assert found.spread == pytest.approx(0.05)
    took(1.8)
    wider = calibration_for(SITUATION, VALUES)
    assert wider is not None
    assert wider.ratio == pytest.approx(1.23)
    assert wider.spread == pytest.approx(1.8 / 1.23 - 1)


def test_runs_of_the_same_kind_come_before_others(took: Taking) -> None:
    took(3.0, 3.0, method="lora")
    others = calibration_for(SITUATION, VALUES)
    assert others is not None
    assert (others.ratio, others.spread, others.runs) == (3.0, 0.2, 2)
    took(1.2)
    alike = calibration_for(SITUATION, VALUES)
    assert alike is not None
    assert (alike.ratio, alike.runs) == (1.2, 1)


def test_runs_without_a_prediction_say_nothing(took: Taking) -> None:
    took(1.2, predicted_step_seconds=0.0)
    assert calibration_for(SITUATION, VALUES) is None


def test_a_measured_machine_starts_anew(took: Taking) -> None:
    """What was predicted by a data sheet says nothing about predictions by measurements."""
    took(1.2)
    write_machine(MACHINE)
    assert calibration_for(SITUATION, VALUES) is None
    alone = machine_alone(SITUATION, 0.3)
    assert alone is not None
    assert (alone.ratio, alone.spread, alone.runs) == (1.0, 0.3, 0)
    assert (alone.matmul_flops, alone.memory_bandwidth) == (4e14, 2e12)
    took(1.1, machine=MACHINE.t)
    found = calibration_for(SITUATION, VALUES)
    assert found is not None
    assert (found.ratio, found.runs, found.matmul_flops) == (1.1, 1, 4e14)


def test_the_measurement_is_of_the_dtype_that_computes() -> None:
    write_machine(MACHINE)
    single = machine_alone(replace(SITUATION, precision="fp32"), 0.3)
    assert single is not None
    assert single.matmul_flops == 5e13


def test_a_measurement_that_cannot_be_read_is_none() -> None:
    write_machine(MACHINE)
    assert read_machine(MACHINE.gpu) == MACHINE
    for text in ("{", "{}", "[]", "null"):
        facts_path(MACHINE.gpu).write_text(text)
        assert read_machine(MACHINE.gpu) is None

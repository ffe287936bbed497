"""A run that has used up what it was allowed saves and ends in exit code 4, on all ranks at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

spec = importlib.util.spec_from_file_location("limit_work", Path(__file__).with_name("limit_work.py"))
assert spec is not None
assert spec.loader is not None
limit_work = importlib.util.module_from_spec(spec)
spec.loader.exec_module(limit_work)

FIVE = ["train.steps=5"]


def fit(folder: Path, overrides: list[str], **config: Any) -> dict[str, Any]:
    return limit_work.fit(str(folder), overrides, **config)


def test_it_saves_and_leaves_at_the_boundary_where_that_is_said(tmp_path: Path) -> None:
    done = fit(tmp_path, FIVE, step=3)
    assert (done["exit_code"], done["step"], done["saved"]) == (4, 3, True)
    assert done["message"] == limit_work.REASON


def test_between_log_points_it_counts_one_step_later(tmp_path: Path) -> None:
    done = fit(tmp_path, [*FIVE, "train.log_every=5"], step=2)
    assert (done["exit_code"], done["step"]) == (4, 3)


def test_before_the_first_step_there_is_nothing_to_save(tmp_path: Path) -> None:
    done = fit(tmp_path, FIVE, step=-1)
    assert done["exit_code"] == 4
    assert done["error"] == f"{limit_work.REASON}: stopped during start-up, before the first step."


def test_an_evaluation_is_left_for_it(tmp_path: Path) -> None:
    done = fit(tmp_path, [*FIVE, "train.evaluate_every=2"], step=2, while_evaluating=True)
    assert (done["exit_code"], done["step"], done["saved"]) == (4, 2, True)
    assert done["evaluated"] == [0]


@pytest.mark.parametrize("config", [{"step": 5}, {"step": 3, "finishes": True}], ids=["last", "vote"])
def test_a_run_that_is_over_anyway_is_done(tmp_path: Path, config: dict[str, Any]) -> None:
    done = fit(tmp_path, FIVE, **config)
    assert (done["exit_code"], done["step"], done["message"]) == (0, config["step"], "")


@pytest.mark.parametrize("log_every", [1, 5])
def test_all_ranks_leave_at_the_same_step_whoever_says_it(
    rank_pool: Callable[[int], Any], tmp_path: Path, log_every: int
) -> None:
    settings = [*FIVE, f"train.log_every={log_every}"]
    ranks = rank_pool(2).call(
        f"{limit_work.WORK}:fit", folder=str(tmp_path), overrides=settings, step=2, rank=1
    )
    assert [each["exit_code"] for each in ranks] == [4, 4]
    assert [each["step"] for each in ranks] == [2 + (log_every > 1)] * 2
    assert [each["message"] for each in ranks] == ["", limit_work.REASON]

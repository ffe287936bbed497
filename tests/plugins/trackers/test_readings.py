"""Which numbers of which events are mirrored, and under which names."""

from __future__ import annotations

from typing import Any

from stoker_plugins.trackers.readings import flattened, readings


def event(kind: str, **values: Any) -> dict[str, Any]:
    return {"v": 1, "t": 1.0, "attempt": 1, "rank": 0, "kind": kind, **values}


def test_rows_and_evaluations_have_the_names_that_others_use() -> None:
    row = event("step", step=3, total_steps=9, loss=2.5, tokens=7)
    assert readings(row) == {"train/loss": 2.5, "train/tokens": 7.0}
    assert readings(event("evaluate", step=3, eval_loss=2.0, rows=4)) == {
        "eval/loss": 2.0,
        "eval/rows": 4,
    }


def test_phases_and_ranks_are_part_of_a_name() -> None:
    committed = event("checkpoint", phase="committed", name="step-3", step=3, seconds=0.5)
    assert readings(committed) == {"checkpoint/committed_seconds": 0.5}
    assert readings(event("memory", step=2, weights=8) | {"rank": 1}) == {"memory/rank-1/weights": 8.0}


def test_kinds_that_are_not_known_here_are_mirrored_too() -> None:
    assert readings(event("cost", usd=0.25, currency="USD")) == {"cost/usd": 0.25}


def test_what_is_no_number_is_left_out() -> None:
    odd = event("step", step=1, loss=None, grad_norm=float("inf"), done=True, non_finite=["loss"])
    assert readings(odd) == {}
    assert readings(event("state", state="running", step=3, total_steps=9)) == {}
    assert readings(event("progress", phase="saving", done=1, total=2)) == {}
    assert readings(event("alert", message="3 things")) == {}


def test_a_recipe_is_flat_for_a_tracker() -> None:
    recipe = {"train": {"steps": 3, "epochs": None}, "data": {"train": [{"path": "a.jsonl"}]}}
    assert flattened(recipe) == {"train.steps": 3, "data.train.0.path": "a.jsonl"}

"""Stopping when a metric no longer improves, and keeping the best."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stoker.errors import PluginError
from stoker.testing import tiny_fit
from stoker_plugins.early_stopping import EarlyStopping, EarlyStoppingConfig


def drive(values: list[float], **config: Any) -> tuple[int | None, list[int]]:
    """Measure once a step; returns the step of the stop, and the steps that were saved."""
    plugin = EarlyStopping(EarlyStoppingConfig(**config))
    saved = []
    for step, value in enumerate(values, start=1):
        state: Any = SimpleNamespace(step=step)
        plugin.on_evaluate_end(state, {plugin.config.metric: value})
        if plugin.should_checkpoint(state):
            saved.append(step)
        if plugin.should_stop(state):
            return step, saved
    return None, saved


def test_it_stops_after_patience_measurements_without_improvement() -> None:
    assert drive([3, 2, 2.5, 2.4, 2.3, 1], patience=3) == (5, [1, 2])


def test_an_improvement_starts_the_count_anew() -> None:
    assert drive([3, 3.1, 2.9, 3, 2.8, 3, 3], patience=2) == (7, [1, 3, 5])


def test_an_improvement_must_exceed_min_delta() -> None:
    assert drive([3.0, 2.95, 2.91], patience=2, min_delta=0.1) == (3, [1])


def test_larger_can_be_better() -> None:
    assert drive([1, 2, 1.5], patience=1, mode="max") == (3, [1, 2])


def test_nan_counts_as_no_improvement() -> None:
    assert drive([2.0, float("nan")], patience=1) == (2, [1])


def test_a_run_ends_early_with_the_best_checkpoint_as_its_result(tmp_path: Path) -> None:
    """A learning rate this high makes the loss rise after a few steps."""
    fit = tiny_fit(
        tmp_path,
        {"early_stopping": {"patience": 2}},
        [
            "train.steps=40",
            "train.learning_rate=0.3",
            "train.schedule=constant",
            "train.warmup=0",
            "train.evaluate_every=1",
            "checkpoint.keep=1",
        ],
    )
    evaluations = fit.of_kind("evaluate")
    best = min(evaluations[1:], key=lambda event: event["eval_loss"])
    assert fit.outcome.step < 40
    assert fit.outcome.exit_code == 0
    assert fit.outcome.checkpoint.name == f"step-{best['step']:08d}"
    assert fit.outcome.checkpoint.is_dir()
    assert fit.directory.read_record().result == f"checkpoints/{fit.outcome.checkpoint.name}"


def test_the_model_it_began_with_is_not_saved_as_an_improvement(tmp_path: Path) -> None:
    """The first evaluation is before the first step, the next one after the third."""
    fit = tiny_fit(
        tmp_path,
        {"early_stopping": {"patience": 9}},
        ["train.steps=3", "train.evaluate_every=3"],
    )
    saved = [e["step"] for e in fit.of_kind("checkpoint") if e["phase"] == "committed"]
    assert saved == [0, 3]


def test_a_metric_that_nobody_measures_is_named_at_the_first_log_point(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"nothing called 'los' is measured.*grad_norm"):
        tiny_fit(tmp_path, {"early_stopping": {"metric": "los"}})


def test_patience_does_not_depend_on_how_often_checkpoints_are_written(tmp_path: Path) -> None:
    early = {"metric": "loss", "patience": 1, "min_delta": 100.0}
    settings = ["train.steps=20", "train.log_every=4", 'checkpoint.every="1 steps"']
    assert tiny_fit(tmp_path, {"early_stopping": early}, settings).outcome.step == 8


def test_any_logged_number_can_be_watched(tmp_path: Path) -> None:
    fit = tiny_fit(
        tmp_path,
        {"early_stopping": {"metric": "loss", "patience": 1, "min_delta": 100.0}},
        ["train.steps=20"],
    )
    assert fit.outcome.step == 2


def test_its_count_survives_a_resume() -> None:
    one = EarlyStopping(EarlyStoppingConfig(patience=2))
    state: Any = SimpleNamespace(step=4)
    one.on_evaluate_end(state, {"eval_loss": 1.0})
    one.on_evaluate_end(state, {"eval_loss": 2.0})
    other = EarlyStopping(EarlyStoppingConfig(patience=2))
    other.load_state(one.save_state())
    other.on_evaluate_end(state, {"eval_loss": 3.0})
    assert other.should_stop(state)
    assert other.best_step == 4


def recipe(**data: Any) -> Any:
    values = {"eval": [], "eval_fraction": 0.0} | data
    return SimpleNamespace(
        data=SimpleNamespace(**values), train=SimpleNamespace(evaluate_every=data.get("every"))
    )


@pytest.mark.parametrize(
    ("data", "hint"),
    [({}, "train.evaluate_every"), ({"every": 5}, "data.eval or data.eval_fraction")],
)
def test_a_recipe_that_never_measures_it_is_refused(data: Any, hint: str) -> None:
    plugin = EarlyStopping(EarlyStoppingConfig())
    (problem,) = plugin.collect_problems(recipe(**data))
    assert hint in problem.hint


def test_a_recipe_that_measures_it_is_fine() -> None:
    plugin = EarlyStopping(EarlyStoppingConfig())
    assert plugin.collect_problems(recipe(every=5, eval_fraction=0.1)) == []


ENDS_EARLY = [
    "train.steps=40",
    "train.learning_rate=0.3",
    "train.schedule=constant",
    "train.warmup=0",
    "train.evaluate_every=1",
]


def saying_of_the_end(fit: Any) -> str:
    return next(e["message"] for e in fit.of_kind("note") if e["message"].startswith("stopped at step"))


def test_a_run_that_ends_early_says_how_long_it_would_have_gone_on(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"early_stopping": {"patience": 2}}, ENDS_EARLY)
    said = saying_of_the_end(fit)
    assert said.startswith(f"stopped at step {fit.outcome.step} of 40, eval_loss was best at step ")
    assert said.endswith(" not trained")


def test_a_run_with_a_price_says_what_was_not_spent(tmp_path: Path) -> None:
    """At a dollar a second, each step that is left has its price at the pace of those that were done."""
    plugins = {"early_stopping": {"patience": 2}, "cost": {"usd_per_gpu_hour": 3600.0}}
    fit = tiny_fit(tmp_path, plugins, ENDS_EARLY)
    said = float(saying_of_the_end(fit).rpartition("about $")[2].removesuffix(" not spent"))
    steps = sum(event["step_seconds"] for event in fit.of_kind("step"))
    evaluations = sum(event["seconds"] for event in fit.of_kind("evaluate") if event["step"])
    left = 40 - fit.outcome.step
    assert said == pytest.approx((steps + evaluations) / fit.outcome.step * left, abs=0.01)


def test_a_run_that_is_done_as_patience_ends_has_saved_nothing(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"early_stopping": {"patience": 2}}, ENDS_EARLY)
    last = [f"train.steps={fit.outcome.step}", *ENDS_EARLY[1:]]
    done = tiny_fit(tmp_path, {"early_stopping": {"patience": 2}}, last)
    assert done.outcome.step == fit.outcome.step
    assert not [e for e in done.of_kind("note") if e["message"].startswith("stopped at")]

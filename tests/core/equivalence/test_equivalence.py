"""Which settings are compared, how recipes are made of them, and how they are judged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stoker.equivalence import compare
from stoker.equivalence.compare import largest_difference
from stoker.equivalence.settings import Setting, reference, settings
from stoker.equivalence.variants import fixed_values, kept_tables, variant
from stoker.errors import ExitCode, StokerError
from stoker.matrix import Matrix
from stoker.registry import load_plugin_class
from stoker.testing import tiny_recipe


def matrix(*names: str) -> Matrix:
    return Matrix({name: load_plugin_class(name) for name in names})


def test_every_engine_is_compared_alone_and_with_every_neutral_value() -> None:
    known = matrix("activation_checkpointing", "fsdp")
    engines = known.axes["engine"]
    chosen = list(settings(known, {}, 8, 2, ["fp32", "bf16_mixed"], engines))
    names = [f"{setting.precision}, {setting.name}" for setting in chosen]
    assert names[0] == "fp32, reference, fp32"
    assert "fp32, default, 1 rank, micro-batches of 1" in names
    assert "fp32, default, 1 rank, micro-batches of 8" in names
    assert "fp32, fsdp-full_shard" in names
    assert "fp32, fsdp-no_shard, checkpointing full" in names
    assert "bf16_mixed, fsdp-full_shard" in names
    assert "bf16_mixed, fsdp-full_shard, checkpointing full" not in names
    assert len(names) == len(set(names))


def test_what_the_matrix_refuses_is_not_compared() -> None:
    fixed = {"quantization": "nf4", "method": "lora"}
    known = matrix("fsdp", "qlora", "lora")
    chosen = settings(known, fixed, 8, 2, ["fp32"], known.axes["engine"])
    assert not [setting.name for setting in chosen if "fsdp" in setting.name]


def test_a_recipe_keeps_its_method_and_leaves_what_is_compared_and_what_only_watches(
    tmp_path: Path,
) -> None:
    tables = ["plugins.lora={rank=2}", "plugins.fsdp={}", "plugins.early_stopping={patience=1}"]
    settings = ["train.precision=bf16_mixed", "train.evaluate_every=1"]
    recipe = tiny_recipe(tmp_path, [*tables, *settings])
    assert kept_tables(recipe).keys() == {"lora"}
    assert fixed_values(recipe)["method"] == "lora"
    cell = matrix("fsdp").cell({"engine": "fsdp-shard_grad_op"})
    setting = Setting("x", "fp32", 2, cell.tables, {"micro_batch_size": 1})
    made = variant(recipe, setting, 4, tmp_path / "variant")
    assert made.plugins["lora"]["rank"] == 2
    assert made.plugins["fsdp"]["strategy"] == "SHARD_GRAD_OP"
    assert (made.train.steps, made.train.precision, made.train.micro_batch_size) == (4, "fp32", 1)
    assert made.data.eval == []
    assert made.launch.gpus_per_node == 2


def test_epochs_become_steps(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    train = recipe.tables.train.model_copy(update={"epochs": 2.0, "steps": None})
    object.__setattr__(recipe, "tables", recipe.tables.model_copy(update={"train": train}))
    assert variant(recipe, reference("fp32"), 3, tmp_path / "variant").train.steps == 3


class FakeTrial(SimpleNamespace):
    """Numbers as a trial gives them."""

    def values(self, key: str) -> list[float]:
        return list(getattr(self, key))


def trial(losses: list[float], norms: list[float] | None = None, failure: Any = None) -> Any:
    return FakeTrial(loss=losses, grad_norm=norms or losses, failure=failure, problem="why", seconds=1.0)


@pytest.mark.parametrize(
    ("losses", "norms", "verdict"),
    [
        ([2.0, 1.0], [2.0, 1.0], "equal"),
        ([2.0, 1.000_009], [2.0, 1.0], "equal"),
        ([2.0, 1.000_02], [2.0, 1.0], "differs"),
        ([2.0, 1.0], [2.000_04, 1.0], "differs"),
        ([2.0, float("nan")], [2.0, 1.0], "differs"),
        ([2.0], [2.0], "differs"),
    ],
)
def test_a_setting_is_judged_by_its_largest_relative_difference(
    losses: list[float], norms: list[float], verdict: str
) -> None:
    row = compare._judge(Setting("x", "fp32", 2), trial(losses, norms), trial([2.0, 1.0]))
    assert row.verdict == verdict


def test_differences_are_relative_to_the_reference() -> None:
    assert largest_difference([2.0, 1.1], [2.0, 1.0]) == pytest.approx(0.1)
    assert largest_difference([], []) == float("inf")


def test_what_this_machine_cannot_run_is_no_failure() -> None:
    setting = Setting("x", "fp32", 2)
    for code, verdict in ((ExitCode.ENVIRONMENT, "not here"), (ExitCode.FAILED, "failed")):
        row = compare._judge(setting, trial([], failure=SimpleNamespace(exit_code=code)), trial([1.0]))
        assert (row.verdict, row.message) == (verdict, "why")


def test_without_a_reference_nothing_is_compared() -> None:
    failed = trial([], failure=SimpleNamespace(exit_code=1, error=None))
    with pytest.raises(StokerError, match="the reference, fp32 failed: why"):
        compare._require(failed, reference("fp32"))

"""ZeRO trains as the default engine does: the same losses and the same gradient norms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIT = f"{Path(__file__).parents[2] / 'fit_work.py'}:fit"
LORA = {"lora": {"rank": 4}}
SPLITS = {
    "one micro-batch each": ["train.micro_batch_size=2"],
    # Five rows: rank 1 has an empty micro-batch.
    "three micro-batches": ["train.batch_size=5", "train.micro_batch_size=1"],
}
STAGES = (1, 2, 3)


@pytest.fixture(scope="module")
def fit(rank_pool: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Train on two ranks; what rank 0 returns, kept for the same arguments."""
    known: dict[str, Any] = {}

    def train(plugins: dict[str, Any], overrides: list[str]) -> Any:
        key = repr((plugins, overrides))
        if key not in known:
            folder = str(tmp_path_factory.mktemp("fit"))
            known[key] = rank_pool(2).call(FIT, folder=folder, plugins=plugins, overrides=overrides)[0]
        return known[key]

    return train


def assert_equal(found: Any, expected: Any, tolerance: float) -> None:
    assert "error" not in found, found
    for series in ("losses", "norms", "evaluations"):
        assert found[series] == pytest.approx(expected[series], rel=tolerance), series


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("stage", STAGES)
def test_losses_and_norms_are_those_of_the_default_engine(
    fit: Callable[..., Any], stage: int, method: str, split: str
) -> None:
    plugins = LORA if method == "lora" else {}
    expected = fit(plugins, SPLITS[split])
    assert_equal(fit({**plugins, "zero": {"stage": stage}}, SPLITS[split]), expected, 1e-5)


def test_stage_3_is_the_same_where_no_weight_stays_whole(fit: Callable[..., Any]) -> None:
    table = {"stage": 3, "persistence_threshold_elements": 0, "sub_group_elements": 2000}
    split = SPLITS["three micro-batches"]
    assert_equal(fit({"zero": table}, split), fit({}, split), 1e-5)


def test_small_buckets_and_no_overlap_change_nothing(fit: Callable[..., Any]) -> None:
    options = {
        "reduce_bucket_elements": 1000,
        "allgather_bucket_elements": 1000,
        "overlap_communication": False,
    }
    split = SPLITS["three micro-batches"]
    for stage in (2, 3):
        assert_equal(fit({"zero": {"stage": stage, **options}}, split), fit({}, split), 1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_bf16_mixed_keeps_close_to_fp32(fit: Callable[..., Any], stage: int) -> None:
    split = SPLITS["three micro-batches"]
    found = fit({"zero": {"stage": stage}}, [*split, 'train.precision="bf16_mixed"'])
    expected = fit({}, split)
    # bfloat16 has 8 bits of precision: 2^-8 = 0.4 % for each rounding.
    assert found["losses"] == pytest.approx(expected["losses"], rel=5e-3)
    assert found["norms"] == pytest.approx(expected["norms"], rel=5e-2)


def test_stages_agree_with_each_other_in_bf16_mixed(fit: Callable[..., Any]) -> None:
    """They sum the same gradients in float32, so only the order of sums differs."""
    overrides = [*SPLITS["three micro-batches"], 'train.precision="bf16_mixed"']
    first = fit({"zero": {"stage": 1}}, overrides)
    for stage in (2, 3):
        assert_equal(fit({"zero": {"stage": stage}}, overrides), first, 1e-3)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_works_with_activation_checkpointing(fit: Callable[..., Any], stage: int, method: str) -> None:
    plugins = {"activation_checkpointing": {}, **(LORA if method == "lora" else {})}
    expected = fit(LORA if method == "lora" else {}, SPLITS["three micro-batches"])
    found = fit({**plugins, "zero": {"stage": stage}}, SPLITS["three micro-batches"])
    assert_equal(found, expected, 1e-5)

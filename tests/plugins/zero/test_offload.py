"""Optimizer states and weights in host memory and on NVMe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIT = f"{Path(__file__).parents[2] / 'fit_work.py'}:fit"
FIT_WIDE = f"{Path(__file__).with_name('zero_work.py')}:fit_wide"
SPLIT = ["train.batch_size=5", "train.micro_batch_size=1"]
CPU = {"offload_optimizer": "cpu"}
BOTH = {"offload_optimizer": "cpu", "offload_parameters": "cpu"}


@pytest.mark.parametrize(
    "table",
    [
        {"stage": 1, **CPU},
        {"stage": 2, **CPU},
        {"stage": 3, **CPU},
        {"stage": 3, "offload_parameters": "cpu"},
        {"stage": 3, **BOTH, "persistence_threshold_elements": 0},
    ],
    ids=lambda table: "-".join(map(str, table.values())),
)
def test_losses_in_host_memory_are_those_of_the_default_engine(
    rank_pool: Callable[[int], Any], tmp_path: Path, table: dict[str, Any]
) -> None:
    pool = rank_pool(2)
    expected = pool.call(FIT, folder=str(tmp_path / "default"), overrides=SPLIT)[0]
    found = pool.call(FIT, folder=str(tmp_path / "zero"), plugins={"zero": table}, overrides=SPLIT)[0]
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-5)
    assert found["norms"] == pytest.approx(expected["norms"], rel=1e-5)
    said = [note for note in found["notes"] if "AdamW" in note]
    assert len(said) == ("offload_optimizer" in table)


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        ("full", "fp32"),
        ("lora", "bf16_mixed"),
        pytest.param("full", "bf16_mixed", marks=pytest.mark.slow),
        pytest.param("lora", "fp32", marks=pytest.mark.slow),
    ],
)
def test_nvme_holds_weights_and_states_and_changes_no_loss(
    rank_pool: Callable[[int], Any], tmp_path: Path, method: str, precision: str
) -> None:
    pool = rank_pool(2)
    nvme = tmp_path / "nvme"
    nvme.mkdir()
    table = {
        "stage": 3,
        "offload_optimizer": "nvme",
        "offload_parameters": "nvme",
        "nvme_path": str(nvme),
        "persistence_threshold_elements": 0,
    }
    # Adapters are too small to be worth a file; the frozen weights are what is moved then.
    plugins = {"lora": {"rank": 4}} if method == "lora" else {}
    overrides = [*SPLIT, "train.steps=2", f'train.precision="{precision}"', "checkpoint.keep=1"]
    memory = {"zero": {"stage": 3}, **plugins}
    expected = pool.call(FIT_WIDE, folder=str(tmp_path / "memory"), plugins=memory, overrides=overrides)
    plugins |= {"zero": table}
    found = pool.call(FIT_WIDE, folder=str(tmp_path / "disk"), plugins=plugins, overrides=overrides)
    # The CPU's AdamW rounds otherwise in the last bit, which bfloat16 weights magnify.
    tolerance = 1e-5 if precision == "fp32" else 2e-3
    assert found[0]["losses"] == pytest.approx(expected[0]["losses"], rel=tolerance)
    assert found[0]["norms"] == pytest.approx(expected[0]["norms"], rel=tolerance)
    for rank in found:
        assert any("param" in name for name in rank["files"])
        states = [name for name in rank["files"] if "exp_avg" in name]
        assert bool(states) == (method == "full")
    # What a run leaves on the disk would fill it one day.
    assert list(nvme.iterdir()) == []


def test_a_run_goes_on_from_what_another_kept_on_nvme(
    rank_pool: Callable[[int], Any], tmp_path: Path
) -> None:
    pool = rank_pool(2)
    table = {
        "stage": 3,
        "offload_optimizer": "nvme",
        "offload_parameters": "nvme",
        "nvme_path": str(tmp_path),
        "persistence_threshold_elements": 0,
    }
    overrides = [*SPLIT, 'train.schedule="constant"', "train.warmup=0"]
    straight = {"folder": str(tmp_path / "straight"), "plugins": {"zero": table}}
    whole = pool.call(FIT_WIDE, **straight, overrides=[*overrides, "train.steps=3"])[0]
    halves = {"folder": str(tmp_path / "halves"), "plugins": {"zero": table}}
    first = pool.call(FIT_WIDE, **halves, overrides=[*overrides, "train.steps=2"])[0]
    second = pool.call(
        FIT_WIDE, **halves, overrides=[*overrides, "train.steps=3"], directory=first["directory"]
    )[0]
    assert second["losses"] == whole["losses"]
    assert second["norms"] == whole["norms"]

"""What the engine does besides training: bad gradients, memory, one rank, several runs in a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from stoker.testing import tiny_fit

# Importing DeepSpeed imports parts of torch that warn each other.
in_this_process = pytest.mark.filterwarnings("ignore::DeprecationWarning")
WORK = Path(__file__).with_name("zero_work.py")
TABLES: list[dict[str, Any]] = [
    {"stage": 1},
    {"stage": 2},
    {"stage": 2, "offload_optimizer": "cpu"},
    {"stage": 3},
    {"stage": 3, "offload_optimizer": "cpu"},
]


@pytest.mark.parametrize("precision", ["fp32", "bf16_mixed"])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: "-".join(map(str, table.values())))
def test_no_step_is_applied_once_a_gradient_was_not_finite(
    rank_pool: Callable[[int], Any], tmp_path: Path, table: dict[str, Any], precision: str
) -> None:
    overrides = ["train.steps=4", "train.log_every=4", f'train.precision="{precision}"']
    ranks = rank_pool(2).call(
        f"{WORK}:fit_spoilt", folder=str(tmp_path), table=table, step=2, overrides=overrides
    )
    for rank in ranks:
        assert rank == {"exit_code": 71, "changed": [True, False, False, False]}


@pytest.mark.parametrize("stage", [1, 2])
def test_gradients_on_their_way_to_host_memory_are_waited_for(
    rank_pool: Callable[[int], Any], tmp_path: Path, stage: int
) -> None:
    """DeepSpeed waits in its own `step`, and before only where communication overlaps with backward."""
    table = {"stage": stage, "offload_optimizer": "cpu", "overlap_communication": False}
    for rank in rank_pool(2).call(f"{WORK}:fit_with_slow_copies", folder=str(tmp_path), table=table):
        assert rank == [True, True, True]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: "-".join(map(str, table.values())))
def test_a_run_leaves_no_memory_to_the_next(
    rank_pool: Callable[[int], Any], tmp_path: Path, table: dict[str, Any]
) -> None:
    for rank in rank_pool(2).call(f"{WORK}:fit_twice", folder=str(tmp_path), table=table):
        first, second = rank["alive"]
        assert second - first < 0.1 * rank["weights"]


@in_this_process
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_single_rank_trains_with_a_group_of_its_own(tmp_path: Path, stage: int) -> None:
    expected = tiny_fit(tmp_path / "default")
    found = tiny_fit(tmp_path / "zero", {"zero": {"stage": stage}})
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    assert not dist.is_initialized()


@in_this_process
def test_nothing_is_written_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    tiny_fit(tmp_path / "fit", {"zero": {"stage": 3}}, ["train.steps=1"])
    assert list(here.iterdir()) == []


def counted(rank_pool: Callable[[int], Any], folder: Path, table: dict[str, Any], size: int) -> Any:
    """Bytes by component on every rank, in the middle of a step."""
    ranks = rank_pool(size).call(
        f"{WORK}:fit_and_count",
        folder=str(folder),
        table=table,
        overrides=['train.precision="bf16_mixed"', "train.batch_size=4"],
    )
    return [rank["bytes"] for rank in ranks]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_each_rank_holds_its_share(rank_pool: Callable[[int], Any], tmp_path: Path, stage: int) -> None:
    """Optimizer 1/N; gradients 1/N from stage 2; weights 1/N at stage 3 (Rajbhandari et al. 2020)."""
    table = {"stage": stage, "persistence_threshold_elements": 0}
    ranks = counted(rank_pool, tmp_path, table, 2)
    elements = ranks[0]["elements"]
    for rank in ranks:
        share = {"weights": 2.0 * elements, "gradients": 4.0 * elements}
        share |= {"optimizer": 8.0 * elements / 2, "master_weights": 4.0 * elements / 2}
        if stage >= 2:
            share["gradients"] /= 2
        if stage == 3:
            share["weights"] /= 2
        for component, expected in share.items():
            assert rank[component] == pytest.approx(expected, rel=0.01), component

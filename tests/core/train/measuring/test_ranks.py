"""Several ranks that are real: what each of them holds, and that pretending gives the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.plan.measured import Measured, Setting
from stoker.plan.situation import MicroBatch
from stoker.testing.fit import tiny_recipe
from stoker.train.measuring.measure import measure

WORK = Path(__file__).with_name("measuring_work.py").as_posix()
SIZE = MicroBatch(rows=2, positions=64, supervised=50, longest_document=64)
PARAMETERS = 26880
"""Of the tiny Llama."""
EMBEDDING = 259 * 32
CONSTANTS = 512
"""Bytes that depend on what a process has done before: constants of libraries, made as they are first
imported, and numbers of ranks, made once for all meshes."""
SMALL_BUCKETS = "stage={stage}, reduce_bucket_elements=20000, allgather_bucket_elements=20000"

Pool = Callable[[int], Any]


def on_two(rank_pool: Pool, folder: Path, *overrides: str) -> list[Measured]:
    """What each of two ranks measured."""
    answers = rank_pool(2).call(
        f"{WORK}:cell",
        folder=str(folder),
        overrides=list(overrides),
        setting=Setting(SIZE, ranks=2).to_json(),
    )
    return [Measured.from_json(answer) for answer in answers]


def pretended(folder: Path, *overrides: str) -> Measured:
    return measure(tiny_recipe(folder, overrides), Setting(SIZE, ranks=2, fake=True))


def fullest(ranks: list[Measured]) -> Measured:
    return max(ranks, key=lambda measured: measured.allocated)


def test_buckets_of_ddp_are_the_gradients_and_stay(rank_pool: Pool, tmp_path: Path) -> None:
    first, second = on_two(rank_pool, tmp_path)
    assert (first.rank, second.rank) == (0, 1)
    assert first.moments == second.moments
    # Nobody but C++ holds a bucket whose gradients have been dropped.
    assert {moment: parts["gradients"] for moment, parts in first.moments.items()} == dict.fromkeys(
        ("forward", "loss", "backward", "update"), 4 * PARAMETERS
    )
    fake = pretended(tmp_path)
    for moment, parts in first.moments.items():
        assert parts == pytest.approx(fake.moments[moment], abs=CONSTANTS)


def test_weights_that_fsdp_gathers_are_buffers(rank_pool: Pool, tmp_path: Path) -> None:
    whole = fullest(on_two(rank_pool, tmp_path, "plugins.fsdp.strategy=FULL_SHARD"))
    kept = fullest(on_two(rank_pool, tmp_path, "plugins.fsdp.strategy=SHARD_GRAD_OP"))
    half = 4 * (PARAMETERS + 32) // 2  # 259 rows of the embedding are dealt as 130 and 129
    assert whole.moments["loss"]["weights"] == kept.moments["loss"]["weights"] == half
    blocks = 4 * (PARAMETERS - EMBEDDING - 32)
    more = kept.moments["loss"]["buffers"] - whole.moments["loss"]["buffers"]
    assert more == pytest.approx(blocks, abs=CONSTANTS)
    # The head's weights are kept for the backward, which begins with them.
    gathered = [a for a in whole.alive["loss"] if a.component == "buffers"]
    assert gathered[0].num_bytes >= 4 * EMBEDDING


def test_pretended_ranks_hold_what_real_ones_hold(rank_pool: Pool, tmp_path: Path) -> None:
    overrides = ("plugins.fsdp={}", "train.precision=bf16_mixed", "plugins.lora={rank=4}")
    real, fake = fullest(on_two(rank_pool, tmp_path, *overrides)), pretended(tmp_path, *overrides)
    for moment, parts in real.moments.items():
        total = sum(fake.moments[moment].values())
        assert sum(parts.values()) == pytest.approx(total, abs=CONSTANTS)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_divides_what_its_stage_says(rank_pool: Pool, tmp_path: Path, stage: int) -> None:
    options = SMALL_BUCKETS.format(stage=stage)
    if stage == 3:
        options += ", persistence_threshold_elements=0, sub_group_elements=20000"
    ranks = on_two(rank_pool, tmp_path, f"plugins.zero={{{options}}}", "train.precision=bf16_mixed")
    held = fullest(ranks).moments["update"]
    half = PARAMETERS // 2
    assert held["master_weights"] == pytest.approx(4 * half, rel=0.01)
    assert held["optimizer"] == pytest.approx(8 * half, rel=0.01)
    assert held["weights"] == pytest.approx(2 * (half if stage == 3 else PARAMETERS), rel=0.01)
    assert held["gradients"] == pytest.approx(4 * (PARAMETERS if stage == 1 else half), rel=0.01)

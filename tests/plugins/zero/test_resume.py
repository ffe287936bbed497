"""Checkpoints under ZeRO: resumed bit by bit, and by other engines on other numbers of ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.run.directory import RunDirectory
from stoker.testing import tiny_fit

FIT = f"{Path(__file__).parents[2] / 'fit_work.py'}:fit"
RECIPE = ['train.schedule="constant"', "train.warmup=0", "train.batch_size=5"]
SHORT, LONG = [*RECIPE, "train.steps=2"], [*RECIPE, "train.steps=4"]
BF16 = 'train.precision="bf16_mixed"'
LORA = {"lora": {"rank": 4}}


@pytest.mark.parametrize(
    ("table", "others", "more"),
    [
        ({"stage": 1}, {}, []),
        ({"stage": 1}, {}, [BF16]),
        ({"stage": 2}, {}, [BF16]),
        ({"stage": 2, "offload_optimizer": "cpu"}, {}, []),
        ({"stage": 3}, {}, [BF16]),
        ({"stage": 3, "persistence_threshold_elements": 0}, LORA, []),
        ({"stage": 3, "offload_optimizer": "cpu", "offload_parameters": "cpu"}, LORA, [BF16]),
    ],
    ids=str,
)
def test_a_resumed_run_is_the_one_that_was_not_stopped_bit_by_bit(
    rank_pool: Callable[[int], Any],
    tmp_path: Path,
    table: dict[str, Any],
    others: dict[str, Any],
    more: list[str],
) -> None:
    pool, plugins = rank_pool(2), {"zero": table, **others}
    whole = pool.call(FIT, folder=str(tmp_path / "whole"), plugins=plugins, overrides=[*LONG, *more])[0]
    halves = {"folder": str(tmp_path / "halves"), "plugins": plugins}
    first = pool.call(FIT, **halves, overrides=[*SHORT, *more])[0]
    second = pool.call(FIT, **halves, overrides=[*LONG, *more], directory=first["directory"])[0]
    assert second["losses"] == whole["losses"]
    assert second["norms"] == whole["norms"]


def test_stage_3_on_two_ranks_goes_on_with_the_default_engine_on_one_and_back(
    rank_pool: Callable[[int], Any], tmp_path: Path
) -> None:
    expected = tiny_fit(tmp_path / "whole", overrides=[*RECIPE, "train.steps=6"]).losses
    pool = rank_pool(2)
    sharded = {"folder": str(tmp_path / "run"), "plugins": {"zero": {"stage": 3}}}
    first = pool.call(FIT, **sharded, overrides=SHORT)[0]
    directory = RunDirectory(Path(first["directory"]))
    tiny_fit(tmp_path / "run", overrides=LONG, directory=directory)
    last = pool.call(FIT, **sharded, overrides=[*RECIPE, "train.steps=6"], directory=first["directory"])[
        0
    ]
    assert last["losses"] == pytest.approx(expected, rel=1e-5)


def test_states_of_another_optimizer_are_refused(
    rank_pool: Callable[[int], Any], tmp_path: Path
) -> None:
    pool = rank_pool(2)
    run = {"folder": str(tmp_path / "run")}
    sgd = {"zero": {"stage": 2}, "optimizers": {"name": "sgd", "momentum": 0.9}}
    first = pool.call(FIT, **run, plugins=sgd, overrides=SHORT)[0]
    assert first["exit_code"] == 0, first
    second = pool.call(
        FIT,
        **run,
        plugins={"zero": {"stage": 2}},
        overrides=LONG,
        directory=first["directory"],
    )[0]
    assert second["exit_code"] == 2
    assert "other optimizer states than AdamW keeps" in second["error"]

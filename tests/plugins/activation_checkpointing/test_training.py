"""Checkpointed runs train as others do, bit by bit, under every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import ExitCode, PluginError, RecipeError
from stoker.testing import Fit, tiny_fit

WORK = Path(__file__).parents[2].joinpath("fit_work.py").as_posix()
LORA = {"rank": 4, "dropout": 0.2}
MODES: dict[str, dict[str, Any]] = {
    "full": {},
    "every_2": {"every": 2},
    "selective": {"mode": "selective"},
    "offload": {"mode": "offload"},
    "offload_inputs": {"offload_inputs": True},
}
ENGINES: dict[str, dict[str, Any]] = {
    "ddp": {},
    "fsdp": {"fsdp": {"strategy": "FULL_SHARD"}},
    "zero-1": {"zero": {"stage": 1}},
    "zero-3": {"zero": {"stage": 3}},
}


def norms(fit: Fit) -> list[float]:
    return [event["grad_norm"] for event in fit.of_kind("step")]


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("precision", ["fp32", "bf16_mixed"])
def test_losses_and_norms_are_bitwise_those_without(tmp_path: Path, precision: str, lora: bool) -> None:
    """With dropout in the adapter: a recomputed block must draw the same mask."""
    others = {"lora": LORA} if lora else {}
    overrides = [f"train.precision={precision}"]
    reference = tiny_fit(tmp_path, others, overrides)
    for name, table in MODES.items():
        fit = tiny_fit(tmp_path, {"activation_checkpointing": table, **others}, overrides)
        assert fit.losses == reference.losses, name
        assert norms(fit) == norms(reference), name


@pytest.mark.parametrize("engine", ENGINES)
def test_two_ranks_train_the_same_under_every_engine(
    rank_pool: Callable[[int], Any], tmp_path: Path, engine: str
) -> None:
    """The loop itself stops a run in which an adapter's tensor has no gradient."""

    def fit(table: dict[str, Any] | None) -> Any:
        plugins = {"lora": LORA, **ENGINES[engine]}
        if table is not None:
            plugins["activation_checkpointing"] = table
        done = rank_pool(2).call(f"{WORK}:fit", folder=str(tmp_path), plugins=plugins)[0]
        return done["losses"], done["norms"]

    reference = fit(None)
    for name in ("full", "selective", "offload"):
        assert fit(MODES[name]) == reference, name


def test_a_note_says_what_happens_to_how_many_blocks(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"activation_checkpointing": {"every": 2, "offload_inputs": True}})
    (note,) = (e["message"] for e in fit.of_kind("note") if "checkpointing" in e["message"])
    assert "1 of 2 LlamaDecoderLayer are recomputed in backward" in note
    assert "on a CPU that is a copy in the same memory" in note


def test_parameters_keep_their_names(tmp_path: Path) -> None:
    plain, wrapped = (
        tiny_fit(tmp_path, plugins, ["train.steps=1"])
        for plugins in ({}, {"activation_checkpointing": {}})
    )
    names = [list(fit.run.parameter_shapes) for fit in (plain, wrapped)]
    assert names[0] == names[1]


def test_a_block_class_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        tiny_fit(tmp_path, {"activation_checkpointing": {"block_class": "GPT2Block"}})
    assert caught.value.exit_code == ExitCode.USAGE
    assert "plugins.activation_checkpointing.block_class" in caught.value.message
    assert "'GPT2Block'" in caught.value.message
    assert "LlamaDecoderLayer" in caught.value.hint


def test_inputs_alone_cannot_be_offloaded_where_more_is_kept(tmp_path: Path) -> None:
    table = {"mode": "selective", "offload_inputs": True}
    with pytest.raises(RecipeError, match="keeps more than the inputs of blocks"):
        tiny_fit(tmp_path, {"activation_checkpointing": table})

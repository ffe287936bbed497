"""The same training under every engine and setting of the shipped plugins, on two gloo ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import ExitCode

SMOKE = Path(__file__).parents[2] / "recipes" / "smoke.toml"


def equivalence(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What the command prints as JSON."""
    command = [sys.executable, "-m", "stoker", "equivalence", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def all_are_equal(rows: list[dict[str, Any]], engines: tuple[str, ...]) -> None:
    """Nothing differs or fails, and the settings of these engines were compared in truth."""
    assert not [row for row in rows if row["verdict"] in ("differs", "failed")]
    compared = {
        row["name"]: row for row in rows if row["verdict"] == "equal" and row["precision"] == "fp32"
    }
    for engine in engines:
        for setting in ("", ", checkpointing full", ", checkpointing selective", ", packing packed"):
            row = compared[f"{engine}{setting}"]
            assert row["ranks"] == 2
            assert max(row["loss_difference"], row["norm_difference"]) <= 1e-5
    assert {"default, 1 rank, micro-batches of 1", "default, 1 rank, micro-batches of 8"} <= set(
        compared
    )
    assert {"zero-3, offload cpu", "zero-3, offload nvme"} <= set(compared)
    mixed = {row["name"] for row in rows if row["precision"] == "bf16_mixed"}
    assert mixed == set(engines)
    if "zero-2" in engines:
        assert "zero-2, offload cpu" in compared


@pytest.mark.timeout(900)
def test_an_engine_of_each_kind_gives_the_losses_and_norms_of_one_process_with_every_setting(
    tmp_path: Path,
) -> None:
    """The tests of `fsdp` and `zero` do so for every strategy and stage, with fewer settings."""
    chosen = ("default", "fsdp-full_shard", "zero-3")
    options = [f"--engine={engine}" for engine in chosen]
    all_are_equal(equivalence(tmp_path, "--steps", "3", *options)["rows"], chosen)


@pytest.mark.slow
def test_every_engine_and_setting_gives_the_losses_and_norms_of_one_process(
    tmp_path: Path, engines: tuple[str, ...]
) -> None:
    all_are_equal(equivalence(tmp_path, "--steps", "3")["rows"], engines)


def test_a_recipe_is_compared_in_the_shape_of_its_model_with_its_adapter(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'extends = "{SMOKE.as_posix()}"\n[plugins.lora]\nrank = 2\n')
    few = ("--tiny", "--steps", "2", "--engine", "fsdp-full_shard", "--precision", "fp32")
    rows = equivalence(tmp_path, "recipe.toml", *few)["rows"]
    assert {row["verdict"] for row in rows} <= {"equal", "not here"}
    assert "fsdp-full_shard, checkpointing full" in {row["name"] for row in rows}
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_an_engine_that_there_is_not_is_named_with_the_nearest(tmp_path: Path) -> None:
    # With a recipe no tiny model is made first.
    command = [sys.executable, "-m", "stoker", "equivalence", str(SMOKE), "--engine", "zero3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == ExitCode.USAGE
    assert "there is no engine 'zero3'" in done.stderr
    assert "zero-3" in done.stderr

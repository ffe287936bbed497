"""What a resume refuses: a wrong base, a checkpoint that lacks something, nothing but damaged ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.checkpoint.finding import list_checkpoints
from stoker.checkpoint.manifest import MANIFEST_NAME
from stoker.errors import StorageError, UsageError
from stoker.run.directory import RunDirectory
from stoker.testing import Fit, rewrite_manifest, tiny_fit, tiny_recipe

LORA: dict[str, Any] = {"lora": {"rank": 2}}


def with_weights(folder: Path) -> list[str]:
    """Give the tiny model real files; returns the settings that use them."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    tiny_recipe(folder)
    torch.manual_seed(0)
    config = LlamaConfig.from_pretrained(folder / "model")
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    return ["model.initial_weights=pretrained", "train.steps=2"]


def resumed(fit: Fit, folder: Path, settings: list[str]) -> Fit:
    return tiny_fit(folder, LORA, [*settings, "train.steps=3"], directory=fit.directory)


def test_an_adapter_on_another_base_is_refused_before_weights_are_loaded(tmp_path: Path) -> None:
    settings = with_weights(tmp_path)
    fit = tiny_fit(tmp_path, LORA, settings)
    weights = tmp_path / "model" / "model.safetensors"
    os.utime(weights)
    assert len(resumed(fit, tmp_path, settings).losses) == 3, "a new time is no new content"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UsageError, match="are not those that step-00000003 was trained on"):
        tiny_fit(tmp_path, LORA, [*settings, "train.steps=4"], directory=fit.directory)


def test_checkpoints_of_a_whole_model_need_no_base(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {}, ["train.steps=1"])
    assert list_checkpoints(fit.directory.checkpoints_path)[-1].manifest.base == ""
    adapter = tiny_fit(tmp_path, LORA, ["train.steps=1"])
    assert len(list_checkpoints(adapter.directory.checkpoints_path)[-1].manifest.base) == 64


def test_an_adapters_checkpoint_holds_the_adapter_only(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, LORA, ["train.steps=1"])
    pieces = list_checkpoints(fit.directory.checkpoints_path)[-1].manifest.pieces
    assert {piece.kind for piece in pieces} == {"weight", "exp_avg", "exp_avg_sq"}
    assert all("lora" in piece.name for piece in pieces)


def without(part: str) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        values["pieces"] = [piece for piece in values["pieces"] if part not in piece["name"]]

    return change


def test_a_checkpoint_without_a_parameter_is_refused_and_not_filled_up(tmp_path: Path) -> None:
    settings = ["train.steps=2"]
    fit = tiny_fit(tmp_path, {}, settings)
    newest = list_checkpoints(fit.directory.checkpoints_path)[-1]
    rewrite_manifest(newest.path, without("layers.1.mlp.up_proj"))
    with pytest.raises(StorageError, match=r"differ in model\.layers\.1\.mlp\.up_proj\.weight"):
        tiny_fit(tmp_path, {}, settings, directory=fit.directory)


def test_where_the_recipe_has_changed_new_parameters_begin_anew_and_a_note_says_so(
    tmp_path: Path,
) -> None:
    frozen = {"freeze": {"patterns": ["model.layers.0.*"]}}
    fit = tiny_fit(tmp_path, frozen, ["train.steps=2"])
    again = tiny_fit(tmp_path, {}, ["train.steps=3"], directory=fit.directory)
    notes = [event["message"] for event in again.of_kind("note")]
    assert any("begin with their initial values: step-00000002 does not hold them" in n for n in notes)


def test_with_nothing_but_damaged_checkpoints_a_run_does_not_begin_anew_by_itself(
    tmp_path: Path,
) -> None:
    fit = tiny_fit(tmp_path, {}, ["train.steps=2"])
    for path in fit.directory.checkpoints_path.glob("step-*/*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(StorageError, match="no checkpoint of 'tiny-1' is valid") as caught:
        tiny_fit(tmp_path, {}, ["train.steps=3"], directory=fit.directory)
    assert "stoker verify tiny-1" in caught.value.hint


def test_what_was_passed_over_is_in_the_resume_event(tmp_path: Path) -> None:
    settings = ["train.steps=4", 'checkpoint.every="2 steps"']
    fit = tiny_fit(tmp_path, {}, settings)
    (fit.directory.checkpoints_path / "step-00000004" / MANIFEST_NAME).unlink()
    (fit.directory.checkpoints_path / "step-00000008").mkdir()
    again = tiny_fit(tmp_path, {}, settings, directory=fit.directory)
    (resume,) = again.of_kind("resume")
    assert resume["step"] == 2
    assert [reason.split("/")[-2] for reason in resume["passed_over"]] == [
        "step-00000008",
        "step-00000004",
    ]
    assert again.losses == fit.losses + fit.losses[2:]


def test_what_was_passed_over_is_set_aside_and_never_looked_at_again(tmp_path: Path) -> None:
    """Should its fault mend itself, it must not win over what has been trained since."""
    settings = ["train.steps=4", 'checkpoint.every="2 steps"']
    folder = tiny_fit(tmp_path, {}, settings).directory.checkpoints_path
    manifest = folder / "step-00000004" / MANIFEST_NAME
    content = manifest.read_bytes()
    manifest.unlink()
    (folder / "damaged-step-00000004").mkdir()
    (folder / "step-00000099").symlink_to(tmp_path)
    directory = RunDirectory(folder.parent)
    again = tiny_fit(tmp_path, {}, settings, directory=directory)
    aside = folder / "damaged-step-00000004-2"
    assert {path.name for path in folder.iterdir()} >= {aside.name, "step-00000004"}
    assert any(f"it is now {aside.name}" in event["message"] for event in again.of_kind("alert"))
    assert not (folder / "step-00000099").exists()
    (aside / MANIFEST_NAME).write_bytes(content)
    assert [found.step for found in list_checkpoints(folder)] == [2, 4]


def test_a_checkpoint_of_another_run_is_passed_over_and_left_alone(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {}, ["train.steps=2"])
    other = tiny_fit(tmp_path / "other", {}, ["train.steps=4"])
    name = "step-00000004"
    shutil.copytree(other.directory.checkpoints_path / name, fit.directory.checkpoints_path / name)
    again = tiny_fit(tmp_path, {}, ["train.steps=3"], directory=fit.directory)
    (resume,) = again.of_kind("resume")
    assert "belongs to another run" in resume["passed_over"][0]
    assert (fit.directory.checkpoints_path / name).is_dir()

"""`stoker export`: a directory that transformers loads, with the same logits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from stoker.errors import StorageError, UsageError
from stoker.testing import tiny_fit
from stoker.train.export import export

IDS = torch.arange(40).view(2, 20)


def test_a_full_model_reloads_with_the_same_logits(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path)
    export(fit.directory, tmp_path / "out", merge=False, step=None)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        expected = fit.run.engine.model.eval()(input_ids=IDS).logits
        torch.testing.assert_close(reloaded(input_ids=IDS).logits, expected, rtol=0, atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert {path.suffix for path in (tmp_path / "out").iterdir()} <= {".json", ".safetensors", ".jinja"}


def test_in_bf16_mixed_weights_are_written_in_bfloat16(tmp_path: Path) -> None:
    """Half a unit in the last place of bfloat16 is 2**-9, and logits of 2 layers stay within 2**-6."""
    fit = tiny_fit(tmp_path, {}, ["train.precision=bf16_mixed"])
    export(fit.directory, tmp_path / "out", merge=False, step=None)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert {parameter.dtype for parameter in reloaded.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        expected = fit.run.engine.model.eval()(input_ids=IDS).logits
        difference = (reloaded.float()(input_ids=IDS).logits - expected).abs().max()
    assert float(difference) <= 2**-6 * float(expected.abs().max())


def test_an_earlier_step_can_be_exported(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {}, ["train.steps=4", 'checkpoint.every="2 steps"'])
    export(fit.directory, tmp_path / "two", merge=False, step=2)
    export(fit.directory, tmp_path / "four", merge=False, step=None)
    two = AutoModelForCausalLM.from_pretrained(tmp_path / "two")
    four = AutoModelForCausalLM.from_pretrained(tmp_path / "four")
    assert not torch.equal(two.model.norm.weight, four.model.norm.weight)
    with pytest.raises(UsageError, match="no checkpoint of step 3: 2, 4"):
        export(fit.directory, tmp_path / "three", merge=False, step=3)


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        export(fit.directory, tmp_path / "out", merge=False, step=None)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_frozen_random_weights_are_exported_with_the_trained_ones(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"freeze": {"patterns": ["model.layers.0.*"]}})
    export(fit.directory, tmp_path / "out", merge=False, step=None)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        expected = fit.run.engine.model.eval()(input_ids=IDS).logits
        torch.testing.assert_close(reloaded(input_ids=IDS).logits, expected, rtol=0, atol=1e-5)


def test_a_target_that_cannot_be_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UsageError, match="is a file"):
        export(fit.directory, tmp_path / "file", merge=False, step=None)
    with pytest.raises(StorageError, match="could not be written"):
        export(fit.directory, tmp_path / "file" / "below", merge=False, step=None)
    assert (tmp_path / "file").read_text() == "precious"
    assert not list(tmp_path.glob(".*"))


def test_the_command_says_what_to_do_with_it(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path)
    command = [sys.executable, "-m", "stoker", "export", str(fit.directory.path)]
    done = subprocess.run([*command, "--to", "exported"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "AutoModelForCausalLM.from_pretrained" in done.stdout
    assert (tmp_path / "exported" / "model.safetensors").is_file()
    again = subprocess.run([*command, "--to", "exported"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2
    assert "exported is not empty" in again.stderr
    assert "Traceback" not in again.stderr


def test_with_damaged_checkpoints_only_nothing_is_exported_and_each_is_named(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {}, ["train.steps=2", 'checkpoint.every="1 steps"'])
    for path in fit.directory.checkpoints_path.glob("*/manifest.json"):
        path.write_bytes(b"{}")
    with pytest.raises(StorageError, match=r"step-00000002.*step-00000001"):
        export(fit.directory, tmp_path / "out", merge=False, step=None)

"""What runs on a CPU trains; what does not is refused before the model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import ExitCode, MissingRequirementError, PluginError, RecipeError
from stoker.testing import Fit, tiny_fit, write_tiny_model
from stoker.train.attention import CAUSAL_SDPA


def note(fit: Fit) -> str:
    (message,) = (e["message"] for e in fit.of_kind("note") if e["message"].startswith("attention:"))
    return str(message)


@pytest.mark.parametrize("others", [{}, {"packing": {}}], ids=["padded", "packed"])
@pytest.mark.parametrize("implementation", ["auto", "sdpa", "eager"])
def test_losses_do_not_depend_on_the_implementation(
    tmp_path: Path, implementation: str, others: dict[str, Any]
) -> None:
    reference = tiny_fit(tmp_path).losses
    for checkpointing in ({}, {"activation_checkpointing": {"mode": "selective"}}):
        table = {"flash_attention": {"implementation": implementation}}
        fit = tiny_fit(tmp_path, {**table, **others, **checkpointing})
        assert fit.losses == pytest.approx(reference, rel=1e-5)


def test_auto_says_what_it_took_and_why_not_the_package(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"flash_attention": {}}, ["train.steps=1"])
    assert note(fit) == (
        "attention: sdpa; not flash_attention_2: it runs on CUDA devices and this is 'cpu'"
    )
    # No mask tensor is made for it, and nobody is asked for positions.
    assert fit.run.engine.model.config._attn_implementation == CAUSAL_SDPA


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("implementation", ["flash_attention_2", "flex"])
def test_what_needs_a_gpu_is_refused_before_anything_is_read(
    tmp_path: Path, implementation: str
) -> None:
    # Without a tokenizer, which would be read first.
    write_tiny_model(tmp_path / "model").joinpath("tokenizer.json").unlink()
    with pytest.raises(MissingRequirementError) as caught:
        tiny_fit(
            tmp_path,
            {"flash_attention": {"implementation": implementation}},
            ["train.precision=bf16_mixed"],
        )
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert f"{implementation!r} cannot run" in caught.value.message
    assert "'auto'" in caught.value.hint


def test_flash_attention_with_fp32_is_a_problem_of_the_recipe(tmp_path: Path) -> None:
    table = {"flash_attention": {"implementation": "flash_attention_2"}}
    with pytest.raises(RecipeError, match="computes in half precision only") as caught:
        tiny_fit(tmp_path, table, ["train.precision=fp32"])
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_model_that_takes_eager_attention_only_says_so(tmp_path: Path) -> None:
    write_tiny_model(
        tmp_path / "model", model_type="bloom", architectures=["BloomForCausalLM"], n_layer=2
    )
    fit = tiny_fit(tmp_path, {"flash_attention": {}}, ["train.steps=1"])
    assert "attention: eager" in note(fit)
    assert "not sdpa: the model's class does not take it" in note(fit)
    with pytest.raises(PluginError, match="'sdpa' cannot run: the model's class does not take it"):
        tiny_fit(tmp_path, {"flash_attention": {"implementation": "sdpa"}})


def test_windows_keep_transformers_own_mask(tmp_path: Path) -> None:
    write_tiny_model(
        tmp_path / "model", model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=8
    )
    fit = tiny_fit(tmp_path, {"flash_attention": {"implementation": "sdpa"}}, ["train.steps=1"])
    assert fit.run.engine.model.config._attn_implementation == "sdpa"
    with pytest.raises(PluginError, match="layers that see a window only"):
        tiny_fit(tmp_path, {"flash_attention": {"implementation": "sdpa"}, "packing": {}})

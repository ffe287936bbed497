"""LoRA on the tiny model: what is trained, what is stored, and that plain PEFT loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.errors import PluginError
from stoker.recipe.loading import inspect_recipe
from stoker.testing import Fit, tiny_fit, tiny_recipe, write_tiny_model
from stoker.train.export import export

SETTINGS = ["train.steps=4", "train.schedule=constant", "model.initial_weights=pretrained"]
IDS = torch.arange(60).view(2, 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a base model that has weights on disk, as a real one has."""
    model = write_tiny_model(tmp_path / "model")
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    base.save_pretrained(model)
    return tmp_path


def train(folder: Path, *overrides: str, **lora: Any) -> Fit:
    return tiny_fit(folder, {"lora": {"rank": 4, **lora}}, [*SETTINGS, *overrides])


def trained_logits(fit: Fit) -> torch.Tensor:
    model = fit.run.engine.model.eval()
    with torch.no_grad():
        return model(input_ids=IDS).logits


def load_adapter(folder: Path, directory: Path, dtype: torch.dtype = torch.float32) -> Any:
    base = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=dtype)
    return peft.PeftModel.from_pretrained(base, directory).eval()


VARIANTS: list[dict[str, Any]] = [
    {},
    {"rslora": True},
    {"dora": True},
    {"targets": ["q_proj", "v_proj"]},
    {"targets": ["q_proj", "embed_tokens"]},
    {"modules_to_save": ["lm_head"]},
]


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(options) or "default")
def test_an_exported_adapter_loads_in_plain_peft_with_the_same_logits(
    folder: Path, options: dict[str, Any]
) -> None:
    fit = train(folder, **options)
    export(fit.directory, folder / "adapter", merge=False, step=None)
    with torch.no_grad():
        logits = load_adapter(folder, folder / "adapter")(input_ids=IDS).logits
    torch.testing.assert_close(logits, trained_logits(fit), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(options) or "default")
def test_a_merged_export_is_an_ordinary_model_with_the_same_logits(
    folder: Path, options: dict[str, Any]
) -> None:
    fit = train(folder, **options)
    export(fit.directory, folder / "merged", merge=True, step=None)
    merged = AutoModelForCausalLM.from_pretrained(folder / "merged")
    with torch.no_grad():
        logits = merged(input_ids=IDS).logits
    torch.testing.assert_close(logits, trained_logits(fit), rtol=0, atol=1e-5)


def test_a_bf16_mixed_adapter_gives_the_trained_logits_to_bfloat16s_precision(folder: Path) -> None:
    """Written in bfloat16, as autocast saw it: equal to 2**-7 of the largest logit, not to 1e-5."""
    fit = train(folder, "train.precision=bf16_mixed")
    export(fit.directory, folder / "adapter", merge=False, step=None)
    reloaded = load_adapter(folder, folder / "adapter", dtype=torch.bfloat16)
    trained = fit.run.engine.model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, found = trained(input_ids=IDS).logits, reloaded(input_ids=IDS).logits
    bound = 2**-7 * float(expected.abs().max())
    assert float((found.float() - expected.float()).abs().max()) <= bound


def test_checkpoint_and_export_hold_the_adapter_only(folder: Path) -> None:
    fit = train(folder, targets=["q_proj"])
    export(fit.directory, folder / "adapter", merge=False, step=None)
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert sorted(tensors) == sorted(
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{part}.weight"
        for layer in (0, 1)
        for part in "AB"
    )
    manifest = json.loads((fit.outcome.checkpoint / "manifest.json").read_text())
    assert {piece["name"].split(".lora_")[0].rsplit(".", 1)[-1] for piece in manifest["pieces"]} == {
        "q_proj"
    }


def test_training_begins_at_the_base_model_and_moves_every_tensor(folder: Path) -> None:
    fit = train(folder)
    source = load_file(fit.outcome.checkpoint / "rank-00000-00000.safetensors")
    b = {
        name: value for name, value in source.items() if "lora_B" in name and name.startswith("weight/")
    }
    assert len(b) == 14
    assert all(value.any() for value in b.values())
    plain = tiny_fit(folder, {}, [*SETTINGS])
    assert fit.of_kind("evaluate")[0]["eval_loss"] == pytest.approx(
        plain.of_kind("evaluate")[0]["eval_loss"], rel=1e-6
    )


def test_start_from_goes_on_where_an_adapter_ended(folder: Path) -> None:
    first = train(folder)
    export(first.directory, folder / "adapter", merge=False, step=None)
    second = train(folder, start_from=str(folder / "adapter"))
    assert second.of_kind("evaluate")[0]["eval_loss"] == pytest.approx(
        first.of_kind("evaluate")[-1]["eval_loss"], rel=1e-5
    )


def test_the_base_may_be_random_too(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"lora": {"rank": 2}}, ["train.steps=3"])
    export(fit.directory, tmp_path / "merged", merge=True, step=None)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=IDS).logits, trained_logits(fit), rtol=0, atol=1e-5)


def test_dora_is_refused_where_ranks_hold_parts_of_weights(folder: Path) -> None:
    tiny_recipe(folder)
    overrides = ["plugins.lora.rank=2", "plugins.zero.stage=3"]
    assert inspect_recipe(folder / "tiny.toml", overrides)[1] == []
    _, (problem,) = inspect_recipe(folder / "tiny.toml", [*overrides, "plugins.lora.dora=true"])
    assert problem.key == "plugins.lora"
    assert "method 'dora' with weights 'sharded'" in problem.message


def test_dora_goes_with_engines_that_gather_a_block(folder: Path) -> None:
    tiny_recipe(folder)
    overrides = ["plugins.lora={rank=2, dora=true}", "plugins.fsdp={}"]
    assert inspect_recipe(folder / "tiny.toml", overrides)[1] == []


def test_targets_that_match_nothing_are_named(folder: Path) -> None:
    with pytest.raises(PluginError, match=r"plugins\.lora\.targets.*query_proj"):
        train(folder, targets=["query_proj"])


def test_a_module_to_save_that_does_not_exist_is_named(folder: Path) -> None:
    with pytest.raises(PluginError, match="no module is called 'head'"):
        train(folder, modules_to_save=["head"])


def problems(**options: Any) -> list[str]:
    from stoker_plugins.lora import Lora, LoraConfig

    plugin = Lora(LoraConfig(**options))
    return [problem.render() for problem in plugin.collect_problems(None)]


def test_an_adapter_of_another_shape_is_refused_before_anything_is_loaded(folder: Path) -> None:
    fit = train(folder)
    export(fit.directory, folder / "adapter", merge=False, step=None)
    assert problems(rank=4, start_from=str(folder / "adapter")) == []
    found = problems(rank=8, start_from=str(folder / "adapter"))
    assert len(found) == 1
    assert "r = 4, the recipe asks for 8" in found[0]


@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "k_proj"]])
def test_an_adapter_of_other_targets_is_refused_both_ways(folder: Path, targets: list[str]) -> None:
    fit = train(folder, targets=["q_proj", "v_proj"])
    export(fit.directory, folder / "adapter", merge=False, step=None)
    with pytest.raises(PluginError, match=r"does not fit: .*(k|v)_proj"):
        train(folder, targets=targets, start_from=str(folder / "adapter"))


def test_an_adapter_of_an_earlier_peft_says_less_and_is_taken_as_peft_takes_it(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").touch()
    config = {"r": 4, "lora_alpha": 32, "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert problems(rank=4, start_from=str(tmp_path)) == []
    (tmp_path / "adapter_config.json").write_text("{torn")
    assert "cannot be read" in problems(rank=4, start_from=str(tmp_path))[0]


def test_a_directory_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    assert "is no PEFT adapter" in problems(start_from=str(tmp_path))[0]

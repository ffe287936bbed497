"""QLoRA on the tiny model: 4-bit weights for real, on the CPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import peft
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.errors import ExitCode, MissingRequirementError, PluginError, StokerError
from stoker.recipe.loading import inspect_recipe
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.testing import Fit, tiny_fit, write_tiny_model
from stoker.train.export import export
from stoker_plugins.qlora.layers import packed_bytes

SETTINGS = ["train.steps=4", "train.schedule=constant", "model.initial_weights=pretrained"]
SIZES = {"hidden_size": 64, "intermediate_size": 128}
IDS = torch.arange(60).view(2, 30)
LINEAR_LAYERS = 7
"""Of each of the tiny model's two blocks."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a base model that has weights on disk."""
    model = write_tiny_model(tmp_path / "model", **SIZES)
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    base.save_pretrained(model)
    return tmp_path


def train(folder: Path, *overrides: str, lora: dict[str, Any] | None = None, **qlora: Any) -> Fit:
    plugins = {"lora": {"rank": 4, **(lora or {})}, "qlora": qlora}
    return tiny_fit(folder, plugins, [*SETTINGS, *overrides])


def packed_weights(fit: Fit) -> dict[str, Any]:
    parameters = fit.run.engine.model.named_parameters()
    return {name: p for name, p in parameters if isinstance(p, bnb.nn.Params4bit)}


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("double_quantization", [True, False])
def test_the_base_is_kept_in_four_bits_and_the_adapter_learns(
    folder: Path, quant_type: str, double_quantization: bool
) -> None:
    fit = train(folder, quant_type=quant_type, double_quantization=double_quantization)
    assert fit.losses[-1] < fit.losses[0]
    packed = packed_weights(fit)
    assert len(packed) == 2 * LINEAR_LAYERS
    for name, parameter in packed.items():
        assert name.endswith(".base_layer.weight")
        assert parameter.quant_state.quant_type == quant_type
        assert parameter.data.element_size() * parameter.data.numel() * 2 == (
            torch.Size(parameter.quant_state.shape).numel()
        )
        assert (parameter.quant_state.state2 is not None) == double_quantization
    (note,) = (e["message"] for e in fit.of_kind("note") if "layers are kept as" in e["message"])
    assert f"of 14 layers are kept as {quant_type}" in note


def test_scales_take_the_bytes_that_are_documented(tmp_path: Path) -> None:
    sizes = ("hidden_size", "intermediate_size")
    write_tiny_model(tmp_path / "model", **dict.fromkeys(sizes, 256))
    shares = {}
    for double in (True, False):
        fit = tiny_fit(
            tmp_path, {"lora": {"rank": 2}, "qlora": {"double_quantization": double}}, ["train.steps=1"]
        )
        packed = list(packed_weights(fit).values())
        num_weights = sum(torch.Size(p.quant_state.shape).numel() for p in packed)
        shares[double] = sum(map(packed_bytes, packed)) / num_weights
    assert shares[False] == pytest.approx(0.5 + 4 / 64)
    # A byte for 64 weights, and four for 256 of those.
    assert shares[True] == pytest.approx(0.5 + 1 / 64 + 4 / 64 / 256, rel=1e-3)


def test_what_is_trained_is_close_to_training_on_the_whole_base(folder: Path) -> None:
    plain = tiny_fit(folder, {"lora": {"rank": 4}}, SETTINGS)
    quantized = train(folder)
    assert quantized.losses == pytest.approx(plain.losses, rel=0.02)
    assert quantized.losses != plain.losses


def test_the_product_is_that_of_the_unpacked_weights(folder: Path) -> None:
    fit = train(folder, "train.steps=1")
    model = fit.run.engine.model.eval()
    whole = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    for name, parameter in packed_weights(fit).items():
        target = whole.get_parameter(name.replace(".base_layer", ""))
        unpacked = bnb.functional.dequantize_4bit(parameter.data, parameter.quant_state)
        # What rounding to NF4's levels costs normally distributed weights.
        error = torch.linalg.norm(unpacked - target) / torch.linalg.norm(target)
        assert 0.05 < error < 0.12, name
        target.data.copy_(unpacked)
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.enable_adapters(False)
    with torch.no_grad():
        found, expected = model(input_ids=IDS).logits, whole(input_ids=IDS).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "bf16_mixed", "fp32"])
def test_products_have_the_regime_s_compute_dtype(folder: Path, precision: str) -> None:
    fit = train(folder, f"train.precision={precision}")
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    assert {p.quant_state.dtype for p in packed_weights(fit).values()} == {dtype}
    assert fit.outcome.exit_code == ExitCode.DONE


def test_a_run_that_goes_on_is_the_same_run(folder: Path) -> None:
    plugins = {"lora": {"rank": 4, "dropout": 0.1}, "qlora": {}}
    whole = tiny_fit(folder, plugins, [*SETTINGS, "train.steps=6"])
    half = tiny_fit(folder, plugins, SETTINGS)
    rest = tiny_fit(folder, plugins, [*SETTINGS, "train.steps=6"], directory=half.directory)
    steps = {event["step"]: event["loss"] for event in rest.of_kind("step")}
    assert [steps[number] for number in range(1, 7)] == whole.losses


def test_two_ranks_give_the_losses_of_one(folder: Path) -> None:
    one = train(folder)
    overrides = [*SETTINGS, "run.name=two", "plugins.lora.rank=4", "plugins.qlora={}"]
    command = [sys.executable, "-m", "stoker", "run", str(folder / "tiny.toml"), "--nproc", "2"]
    command += [part for each in overrides for part in ("--set", each)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    events = read_events(RunDirectory(folder / "runs" / "two").events_path)
    losses = [event["loss"] for event in events if event["kind"] == "step"]
    assert losses == pytest.approx(one.losses, rel=1e-6)


@pytest.mark.parametrize("merge", [False, True])
def test_exports_build_on_the_base_as_it_was_published(folder: Path, merge: bool) -> None:
    fit = train(folder)
    export(fit.directory, folder / "exported", merge=merge, step=None)
    if merge:
        model = AutoModelForCausalLM.from_pretrained(folder / "exported")
    else:
        base = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
        model = peft.PeftModel.from_pretrained(base, folder / "exported")
    plain = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    with torch.no_grad():
        logits, before = model.eval()(input_ids=IDS).logits, plain(input_ids=IDS).logits
        trained = fit.run.engine.model.eval()(input_ids=IDS).logits
    moved = (trained - before).abs().mean()
    # What the adapter learnt is there; what quantization did to the base is not.
    assert (logits - trained).abs().mean() < 0.3 * moved


def test_layers_can_be_left_as_they_are(folder: Path) -> None:
    fit = train(folder, skip_modules=["down_proj", "layers.0.self_attn.q_proj"])
    names = set(packed_weights(fit))
    assert len(names) == 2 * LINEAR_LAYERS - 3
    assert not any("down_proj" in name or "layers.0.self_attn.q_proj" in name for name in names)


def test_layers_whose_rows_are_no_whole_blocks_are_left(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model", hidden_size=64, intermediate_size=96)
    fit = tiny_fit(tmp_path, {"lora": {"rank": 2}, "qlora": {}}, ["train.steps=1"])
    assert len(packed_weights(fit)) == 2 * (LINEAR_LAYERS - 1)
    assert not any("down_proj" in name for name in packed_weights(fit))


def test_nothing_left_to_quantize_is_an_error(folder: Path) -> None:
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    with pytest.raises(PluginError, match="no linear layer that could be quantized"):
        train(folder, skip_modules=every)


def test_a_quantized_weight_is_not_trained_whole(folder: Path) -> None:
    with pytest.raises(StokerError, match="a quantized weight cannot be trained"):
        train(folder, lora={"targets": ["v_proj"], "modules_to_save": ["q_proj"]})


def test_dora_learns_on_a_quantized_base(folder: Path) -> None:
    fit = train(folder, lora={"dora": True})
    assert fit.losses[-1] < fit.losses[0]
    assert len(packed_weights(fit)) == 2 * LINEAR_LAYERS


@pytest.mark.parametrize("precision", ["bf16", "fp16_mixed"])
def test_the_adapter_s_moments_may_be_in_8_bits(folder: Path, precision: str) -> None:
    optimizer = {"name": "adamw_8bit", "min_8bit_size": 0}
    plugins: dict[str, Any] = {"lora": {"rank": 4}, "qlora": {}, "optimizers": optimizer}
    fit = tiny_fit(folder, plugins, [*SETTINGS, f"train.precision={precision}"])
    assert fit.losses[-1] < fit.losses[0]
    states = fit.run.engine.optimizer.state.values()
    assert {state["state1"].dtype for state in states} == {torch.uint8}


@pytest.mark.parametrize("engine", ["zero.stage=2", "fsdp.strategy=NO_SHARD"])
def test_engines_that_place_weights_themselves_refuse_a_quantized_base(
    folder: Path, engine: str
) -> None:
    train(folder, "train.steps=1")
    overrides = ["plugins.lora.rank=2", "plugins.qlora.quant_type=fp4", f"plugins.{engine}"]
    _, problems = inspect_recipe(folder / "tiny.toml", overrides)
    (problem,) = problems
    assert "quantization 'fp4'" in problem.message


def test_without_an_adapter_check_refuses(folder: Path) -> None:
    fit_recipe = folder / "tiny.toml"
    train(folder, "train.steps=1")
    _, problems = inspect_recipe(fit_recipe, ["plugins.qlora.quant_type=nf4"])
    (problem,) = problems
    assert problem.key == "plugins.qlora"
    assert problem.message == (
        "quantization 'nf4' with method 'full': "
        "QLoRA trains adapters, and a weight of 4 bits cannot be trained itself."
    )
    assert "[plugins.lora]" in problem.hint


def test_without_bitsandbytes_nothing_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "stoker_plugins.qlora.find_spec", lambda name: None if name == "bitsandbytes" else real(name)
    )
    with pytest.raises(MissingRequirementError, match="bitsandbytes") as caught:
        train(folder)
    assert "stoker[qlora]" in caught.value.hint

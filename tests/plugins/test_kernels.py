"""Liger's kernels: off with a note on this machine, and what is done where they can run.

The package needs Triton, so a stand-in with the signatures of liger-kernel 0.8.5 takes its place: its
functions note what they are asked for and compute nothing else than transformers does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers.models.llama import modeling_llama

from stoker.errors import MissingRequirementError, PluginError
from stoker.testing import Fit, tiny_fit
from stoker_plugins.kernels import KernelsConfig, machine
from stoker_plugins.kernels.machine import Machine

LIGER = """
import inspect
from transformers.models.llama import modeling_llama

calls = []

def apply_liger_kernel_to_llama(
    rope=True, cross_entropy=False, fused_linear_cross_entropy=True, rms_norm=True, swiglu=True,
    model=None,
):
    calls.append(dict(locals(), model=type(model).__name__))
    original = modeling_llama.apply_rotary_pos_emb
    if rope:
        modeling_llama.apply_rotary_pos_emb = lambda *args, **keywords: original(*args, **keywords)
    if rms_norm:
        modeling_llama.LlamaRMSNorm = type("LigerRMSNorm", (modeling_llama.LlamaRMSNorm,), {})

def apply_without_rope(
    rope=False, cross_entropy=True, fused_linear_cross_entropy=False, rms_norm=True, geglu=True,
    model=None,
):
    if rope:  # as liger-kernel answers for models whose rotary embedding it has no kernel for
        raise NotImplementedError("rope is not available")
    calls.append(dict(locals()))

MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": apply_liger_kernel_to_llama, "gemma": apply_without_rope}

def _apply_liger_kernel_to_instance(model, **kwargs):
    apply = MODEL_TYPE_TO_APPLY_LIGER_FN[model.config.model_type]
    known = inspect.signature(apply).parameters
    apply(model=model, **{key: value for key, value in kwargs.items() if key in known})
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A GPU, as far as the plugin knows, and what the stand-in is asked for."""
    package = tmp_path / "packages" / "liger_kernel" / "transformers"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "monkey_patch.py").write_text(LIGER)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setattr(machine, "read", lambda device="": Machine("cuda", True, ""))
    from liger_kernel.transformers.monkey_patch import calls as made

    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == "liger_kernel"]:
        del sys.modules[name]


def said(fit: Fit) -> list[str]:
    return [e["message"] for e in fit.of_kind("note") if e["message"].startswith("kernels:")]


def losses(fit: Fit) -> list[float]:
    return [event["loss"] for event in fit.of_kind("step")]


def test_on_this_machine_they_are_off_with_a_note_and_change_nothing(tmp_path: Path) -> None:
    plain, fit = (tiny_fit(tmp_path, plugins) for plugins in ({}, {"kernels": {}}))
    assert losses(fit) == losses(plain)
    assert said(fit) == [
        "kernels: PyTorch's own are used, not Liger's: they run on CUDA devices and this is 'cpu'"
    ]
    with pytest.raises(MissingRequirementError, match=r"required: .* this is 'cpu'"):
        tiny_fit(tmp_path, {"kernels": {"required": True}})


def test_what_is_named_is_replaced_for_the_run_and_no_longer(
    tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    before = dict(vars(modeling_llama))
    fit = tiny_fit(tmp_path, {"kernels": {"swiglu": False, "required": True}})
    assert calls == [
        {
            "rope": True,
            "rms_norm": True,
            "swiglu": False,
            "cross_entropy": False,
            "fused_linear_cross_entropy": False,
            "model": "LlamaForCausalLM",
        }
    ]
    assert said(fit) == ["kernels: Liger's for rope, rms_norm"]
    assert vars(modeling_llama) == before

    def fail(*_: object, **__: object) -> None:
        assert modeling_llama.apply_rotary_pos_emb is not before["apply_rotary_pos_emb"]
        raise OSError("in the middle of a run")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stoker.train.loop.train", fail)
        with pytest.raises(OSError, match="in the middle"):
            tiny_fit(tmp_path, {"kernels": {}})
    assert vars(modeling_llama) == before


def test_what_liger_has_not_for_a_model_is_named(calls: list[dict[str, Any]]) -> None:
    from transformers import AutoModelForCausalLM, GemmaConfig, GPT2Config, LlamaConfig

    from stoker_plugins.kernels.liger import apply

    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    size |= {"vocab_size": 16, "num_key_value_heads": 1}

    def model(config: type[Any], **options: Any) -> Any:
        return AutoModelForCausalLM.from_config(config(**options))

    gemma = model(GemmaConfig, **size, head_dim=8)
    applied = apply(KernelsConfig(), gemma, "cuda")
    assert applied.describe() == (
        "kernels: Liger's for rms_norm, swiglu; not rope: Liger has none for models of type 'gemma'"
    )
    assert calls[0] | {"model": None} == {
        "rope": False,
        "rms_norm": True,
        "geglu": True,
        "cross_entropy": False,
        "fused_linear_cross_entropy": False,
        "model": None,
    }
    with pytest.raises(PluginError, match="not rope"):
        apply(KernelsConfig(required=True), gemma, "cuda")
    assert "own are used" in apply(KernelsConfig(rms_norm=False, swiglu=False), gemma, "cuda").describe()

    applied = apply(KernelsConfig(), model(LlamaConfig, **size, hidden_act="gelu"), "cuda")
    assert "not swiglu: the model's activation is 'gelu'" in applied.describe()
    applied.undo()

    unknown = model(GPT2Config, n_embd=8, n_layer=1, n_head=1, vocab_size=16)
    applied = apply(KernelsConfig(), unknown, "cuda")
    assert "Liger has none for models of type 'gpt2'" in applied.describe()
    assert len(calls) == 2


def test_a_gpu_without_the_package_is_refused_and_without_triton_is_not() -> None:
    with pytest.raises(MissingRequirementError, match="not installed") as caught:
        machine.require(Machine("cuda", True, "the package liger-kernel is not installed"), always=False)
    assert caught.value.hint == "Run: pip install 'stoker[liger]'"
    without = Machine("cuda", False, "")
    machine.require(without, always=False)
    assert "Triton" in without.problem
    with pytest.raises(MissingRequirementError, match="Triton"):
        machine.require(without, always=True)


def test_a_package_that_is_missing_or_does_not_import_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: object())
    assert machine.read("cuda").problem == "the package liger-kernel is not installed"
    (tmp_path / "liger_kernel.py").write_text("import of_another_release")
    monkeypatch.syspath_prepend(tmp_path)
    assert "liger-kernel does not import: No module" in machine.read("cuda").problem


def test_a_table_without_any_kernel_is_refused() -> None:
    with pytest.raises(ValidationError, match="no kernel is left"):
        KernelsConfig(rope=False, rms_norm=False, swiglu=False)

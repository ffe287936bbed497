"""The last line says what this machine can run."""

from __future__ import annotations

from typing import Any

from stoker.doctor.finding import Finding
from stoker.doctor.verdict import verdict

TORCH = Finding("torch", "torch", "ok", "2.13.0")
PEFT = Finding("extra train", "peft", "ok", "0.21")
NO_GPU = Finding("torch", "gpu", "missing", "none")
CPU = {"kind": "cpu", "bf16": True, "failure": ""}
GPU = {"kind": "cuda", "bf16": True, "failure": ""}
START = "This machine can check recipes"


def said(*findings: Finding, devices: list[dict[str, Any]] | None = None) -> str:
    return verdict(findings, devices if devices is not None else [CPU])


def test_a_machine_without_a_gpu_trains_on_its_cpu() -> None:
    assert said(TORCH, PEFT, NO_GPU) == f"{START} and train on CPU; no GPU was found."


def test_gpus_are_counted_and_bf16_is_told() -> None:
    assert said(TORCH, PEFT, devices=[CPU, GPU]) == f"{START} and train on 1 GPU, with bf16."
    old = {**GPU, "bf16": False}
    assert said(TORCH, PEFT, devices=[CPU, GPU, old]).endswith("train on 2 GPUs, without bf16.")


def test_a_gpu_that_fails_is_not_trained_on() -> None:
    failing = {**GPU, "failure": "CUDA error"}
    broken = Finding("torch", "cuda 0", "error", "CUDA error")
    text = said(TORCH, PEFT, broken, devices=[CPU, failing])
    assert text == f"{START} and train on CPU; no GPU can be used. Broken: 1."
    unseen = Finding("torch", "gpu", "warning", "torch sees none")
    assert said(TORCH, PEFT, unseen) == f"{START} and train on CPU; no GPU can be used."


def test_without_what_training_needs_only_recipes_are_checked() -> None:
    absent = Finding("extra train", "peft", "missing", "not installed")
    old = Finding("extra train", "peft", "error", "0.1")
    no_torch = Finding("torch", "torch", "missing", "not installed")
    assert said(no_torch, absent) == f"{START}; to train, pip install 'stoker[train]'."
    assert said(TORCH, absent) == f"{START}; to train, pip install 'stoker[train]'."
    assert said(TORCH, old) == f"{START}; what training needs is broken (marked x)."


def test_what_is_broken_elsewhere_is_counted() -> None:
    plugin = Finding("plugins", "mine", "error", "ImportError")
    assert said(TORCH, PEFT, NO_GPU, plugin).endswith("no GPU was found. Broken: 1.")

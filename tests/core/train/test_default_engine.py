"""The default engine's own corners; what it computes is tested with the loop and the launchers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from stoker.errors import MissingRequirementError, UsageError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit
from stoker.train.precision import regime_for
from stoker.train.torch_engine import refuse_launcher_settings


def test_two_sources_of_truth_about_sharding_are_refused() -> None:
    refuse_launcher_settings({"ACCELERATE_USE_FSDP": "false"})
    with pytest.raises(UsageError, match=r"ACCELERATE_USE_FSDP.*recipe"):
        refuse_launcher_settings({"ACCELERATE_USE_FSDP": "true"})


def test_a_gpu_without_bfloat16_is_refused_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(MissingRequirementError, match=r"Tesla T4 has no bfloat16.*'fp16_mixed'"):
        regime_for("bf16_mixed", torch.device("cuda"))
    assert regime_for("fp16_mixed", torch.device("cuda")).scales_loss


def test_pieces_hold_what_is_trained_with_its_optimizer_state_and_nothing_frozen(
    tmp_path: Path,
) -> None:
    plugins = {"freeze": {"patterns": ["*"], "except_patterns": ["model.norm.weight"]}}
    fit = tiny_fit(tmp_path, plugins)
    pieces: list[Any] = list(fit.run.engine.tensors())
    assert [(piece.name, piece.kind) for piece in pieces] == [
        ("model.norm.weight", "weight"),
        ("model.norm.weight", "exp_avg"),
        ("model.norm.weight", "exp_avg_sq"),
    ]
    assert {(piece.start, piece.stop, tuple(piece.shape)) for piece in pieces} == {(0, 32, (32,))}


def test_an_optimizer_that_cannot_read_the_flag_on_the_device_is_still_stopped(
    tmp_path: Path,
) -> None:
    """SGD knows no `found_inf`: the engine asks the host instead, at the price of a synchronisation."""
    from stoker.errors import NonFiniteError
    from stoker.plugin import Plugin, PluginConfig, hookimpl

    class PoisonedSgd(Plugin[PluginConfig]):
        @hookimpl
        def make_optimizer(self, parameter_groups: Any) -> torch.optim.Optimizer:
            return torch.optim.SGD(parameter_groups, lr=0.1)

        @hookimpl
        def on_gradients(self, state: Any) -> None:
            if state.step == 2:
                next(state.model.parameters()).grad[0, 0] = torch.inf

        @hookimpl
        def on_step_end(self, state: Any) -> None:
            assert all(bool(p.isfinite().all()) for p in state.model.parameters())

    with pytest.raises(NonFiniteError, match="step 2"):
        tiny_fit(tmp_path, {"sgd": PoisonedSgd(PluginConfig())}, ["train.log_every=3"])


def test_the_norm_of_bfloat16_gradients_is_not_rounded_to_bfloat16(tmp_path: Path) -> None:
    class Norms(Plugin[PluginConfig]):
        expected: ClassVar[list[float]] = []

        @hookimpl
        def on_gradients(self, state: Any) -> None:
            gradients = [part.double() for _, part in state.engine.gradients()]
            self.expected.append(float(nn.utils.get_total_norm(gradients)))

    norms: Any = Norms(PluginConfig())
    fit = tiny_fit(tmp_path, {"norms": norms}, ["train.precision=bf16"])
    found = [event["grad_norm"] for event in fit.of_kind("step")]
    assert found == pytest.approx(norms.expected, rel=1e-5)

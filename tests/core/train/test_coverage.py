"""Which tensors learnt nothing in the first steps: an error, or a warning for experts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from stoker.errors import StokerError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit
from stoker.train.coverage import GradientCoverage


class Mixture(nn.Module):
    """A layer with a router and experts of their own, of which one is never chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(2, 2)
        self.experts = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(3))


def coverage(model: nn.Module, device: str = "cpu") -> tuple[GradientCoverage, list[str]]:
    alerts: list[str] = []
    events = SimpleNamespace(write=lambda kind, message: alerts.append(f"{kind}: {message}"))
    engine = SimpleNamespace(
        world_size=1,
        device=torch.device(device),
        failed=lambda: torch.zeros(()),
        gradients=lambda: [(name, p.grad) for name, p in model.named_parameters()],
    )
    state: Any = SimpleNamespace(
        model=model, engine=engine, run=SimpleNamespace(events=events, is_main=True)
    )
    return GradientCoverage(state), alerts


def step(model: nn.Module, watched: GradientCoverage, *silent: str, rate: float = 1.0) -> None:
    for name, parameter in model.named_parameters():
        parameter.grad = torch.ones_like(parameter) * (0.0 if name in silent else 1.0)
    watched.observe(rate)


def test_an_expert_that_no_token_chose_is_a_warning() -> None:
    model = Mixture()
    watched, alerts = coverage(model)
    for _ in range(3):
        step(model, watched, "experts.1.weight")
    assert alerts == ["alert: 1 expert tensors had no gradient in the first 3 steps: experts.1.weight"]


def test_any_other_tensor_is_an_error_that_names_it() -> None:
    model = Mixture()
    watched, _ = coverage(model)
    step(model, watched, "router.bias")
    step(model, watched, "router.bias")
    with pytest.raises(StokerError, match=r"1 of 5 trainable tensors .*: router\.bias\."):
        step(model, watched, "router.bias")


def test_one_step_with_a_gradient_is_enough_and_steps_at_rate_zero_do_not_count() -> None:
    model = Mixture()
    watched, _ = coverage(model)
    for _ in range(5):
        step(model, watched, "router.bias", rate=0.0)
    step(model, watched, "router.bias")
    step(model, watched, "router.weight")
    step(model, watched, "router.bias")


def test_steps_that_overflowed_do_not_count(tmp_path: Path) -> None:
    """fp16 may skip its first steps: LoRA's A has no gradient before B has moved."""

    class Overflows(Plugin[PluginConfig]):
        @hookimpl
        def on_gradients(self, state: Any) -> None:
            if state.step <= 4:
                first = next(p for p in state.model.parameters() if p.requires_grad)
                first.grad.fill_(torch.inf)

    overflows = Overflows(PluginConfig())
    plugins: Any = {"lora": {"rank": 2}, "overflows": overflows}
    fit = tiny_fit(tmp_path, plugins, ["train.precision=fp16_mixed", "train.steps=9"])
    assert len(fit.losses) == 9


def test_a_tensor_outside_the_graph_is_named_at_once_where_ranks_would_wait_for_it() -> None:
    model = Mixture()
    watched, _ = coverage(model)
    watched.state.engine.world_size = 2
    model.router.weight.grad = torch.ones(2, 2)
    with pytest.raises(StokerError, match=r"4 of 5 .* take no part in the loss: router\.bias"):
        watched.observe(1.0)


def test_gradients_may_be_in_host_memory_beside_a_device_and_a_rank_may_have_none_of_a_tensor() -> None:
    """As with offload on a GPU, for which `meta` stands: it does not mix with the CPU either."""
    model = Mixture()
    watched, _ = coverage(model, device="meta")
    gradients = [(name, torch.ones_like(p)) for name, p in model.named_parameters()]
    gradients[0] = (gradients[0][0], torch.empty(0))
    watched.state.engine.gradients = lambda: gradients
    watched.observe(1.0)

"""States of optimizers between checkpoints: what can be saved, made and filled again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stoker.errors import StokerError, UsageError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit
from stoker.train.optimizer_states import make_states, states_of, states_to_restore


class Stored:
    """A source of optimizer states, as a checkpoint is."""

    optimizer_steps = 7

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = {kind: torch.Size(shape) for kind, shape in shapes.items()}

    def has(self, name: str, kind: str) -> bool:
        return kind in self.shapes

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        return self.shapes

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        return torch.ones(self.shapes[kind].numel())[start:stop]


def adamw() -> tuple[torch.optim.Optimizer, nn.Parameter]:
    parameter = nn.Parameter(torch.ones(3, 2))
    return torch.optim.AdamW([parameter], lr=0.5, weight_decay=0.1), parameter


MOMENTS = {"exp_avg": (3, 2), "exp_avg_sq": (3, 2)}


def test_states_are_made_without_a_trace_in_weights_and_options() -> None:
    optimizer, parameter = adamw()
    make_states(optimizer)
    assert torch.equal(parameter.detach(), torch.ones(3, 2))
    assert parameter.grad is None
    assert optimizer.param_groups[0]["lr"] == 0.5
    states = dict(states_of(optimizer, "w", parameter))
    assert {kind: tuple(state.shape) for kind, state in states.items()} == MOMENTS


def test_states_are_filled_where_they_are_and_the_count_is_set() -> None:
    optimizer, parameter = adamw()
    make_states(optimizer)
    places = dict(states_to_restore(optimizer, Stored(MOMENTS), "w", parameter))
    state = optimizer.state[parameter]
    assert places == {"exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}
    assert float(state["step"]) == 7


def test_a_parameter_without_states_has_none_again() -> None:
    optimizer, parameter = adamw()
    make_states(optimizer)
    assert list(states_to_restore(optimizer, Stored({}), "w", parameter)) == []
    assert parameter not in optimizer.state


@pytest.mark.parametrize(
    "stored", [{"momentum_buffer": (3, 2)}, {"exp_avg": (3, 2)}, {**MOMENTS, "exp_avg": (6,)}]
)
def test_other_kinds_and_shapes_are_refused_with_both_sides_named(
    stored: dict[str, tuple[int, ...]],
) -> None:
    optimizer, parameter = adamw()
    make_states(optimizer)
    with pytest.raises(UsageError, match=r"where it keeps exp_avg \[3, 2\], exp_avg_sq \[3, 2\]"):
        list(states_to_restore(optimizer, Stored(stored), "w", parameter))


def test_a_state_that_is_no_tensor_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Listing(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            super().step()
            for parameter in self.param_groups[0]["params"]:
                self.state[parameter]["history"] = []

    class Lists(Plugin[PluginConfig]):
        @hookimpl
        def make_optimizer(self, parameter_groups: Any) -> torch.optim.Optimizer:
            return Listing(parameter_groups, lr=0.0)

    with pytest.raises(StokerError, match=r"Listing keeps 'history' for .* which is a list"):
        tiny_fit(tmp_path, {"lists": Lists(PluginConfig())}, ["train.steps=1"])
    kept = (tmp_path / "runs" / "tiny-1" / "checkpoints").iterdir()
    assert [path.name for path in kept] == ["step-00000000"]


@pytest.mark.parametrize(
    ("before", "after", "dtype"),
    [
        ("bf16", "bf16_fp32_states", torch.float32),
        ("fp32", "bf16", torch.bfloat16),
        ("bf16", "bf16_mixed", torch.float32),
    ],
)
def test_moments_have_the_dtype_of_the_regime_that_goes_on(
    tmp_path: Path, before: str, after: str, dtype: torch.dtype
) -> None:
    half = tiny_fit(tmp_path, {}, ["train.steps=2", f"train.precision={before}"])
    rest = tiny_fit(
        tmp_path, {}, ["train.steps=5", f"train.precision={after}"], directory=half.directory
    )
    assert len(rest.losses) == 5
    optimizer = rest.run.engine.optimizer
    moments = [state[kind] for state in optimizer.state.values() for kind in MOMENTS]
    assert {moment.dtype for moment in moments} == {dtype}

"""Bytes per trainable parameter, counted from the tensors that are really alive."""

from pathlib import Path

import pytest
import torch

from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit


class ByteCounter(Plugin[PluginConfig]):
    """Counts at the moment when gradients are complete, and optimizer states at the end."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.bytes: dict[str, float] = {}

    @hookimpl
    def on_gradients(self, state):  # type: ignore[no-untyped-def]
        parameters = [p for p in state.model.parameters() if p.requires_grad]
        count = sum(p.numel() for p in parameters)
        self.bytes["weights"] = sum(p.nbytes for p in parameters) / count
        self.bytes["gradients"] = sum(p.grad.nbytes for p in parameters) / count

    @hookimpl
    def on_train_end(self, state):  # type: ignore[no-untyped-def]
        parameters = [p for p in state.model.parameters() if p.requires_grad]
        states = [
            tensor
            for parameter in parameters
            for tensor in state.optimizer.state[parameter].values()
            if tensor.numel() > 1
        ]
        count = sum(p.numel() for p in parameters)
        self.bytes["states"] = sum(tensor.nbytes for tensor in states) / count


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("bf16", (2, 2, 4)),
        ("bf16_fp32_states", (2, 2, 8)),
        ("bf16_mixed", (4, 4, 8)),
        ("fp16_mixed", (4, 4, 8)),
        ("fp32", (4, 4, 8)),
    ],
)
def test_a_regime_costs_what_the_design_says_per_parameter(
    tmp_path: Path, precision: str, expected: tuple[int, int, int]
) -> None:
    counter = ByteCounter()
    fit = tiny_fit(tmp_path, {"bytes": counter}, [f"train.precision={precision}", "train.steps=2"])
    assert tuple(counter.bytes.values()) == expected
    assert all(0 < loss < 7 for loss in fit.losses)


def test_frozen_weights_are_kept_in_the_compute_dtype(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"lora": {"rank": 2}}, ["train.precision=bf16_mixed", "train.steps=2"])
    dtypes = {p.requires_grad: p.dtype for p in fit.run.engine.model.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}

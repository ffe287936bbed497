"""Modules train in the mode that they were given, whatever is evaluated meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stoker import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit
from stoker.train.model import make_model
from stoker.train.modes import evaluation_mode


def test_each_module_is_afterwards_as_before() -> None:
    model = nn.Sequential(nn.Sequential(nn.Dropout(), nn.Dropout()), nn.Dropout())
    model[0][1].eval()
    before = [module.training for module in model.modules()]

    @evaluation_mode(model)
    def fail() -> None:
        assert not any(module.training for module in model.modules())
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [module.training for module in model.modules()] == before


class Modes(Plugin[PluginConfig]):
    """Makes a model in evaluation mode, keeps one block of it so, and looks in every step."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.seen: list[tuple[bool, bool]] = []

    @hookimpl
    def make_model(self, run: Any) -> torch.nn.Module:
        return make_model(run, {}).eval()

    @hookimpl
    def patch_model(self, model: Any) -> None:
        model.model.layers[0].eval()

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        first, second = state.model.model.layers[:2]
        modes = [{module.training for module in block.modules()} for block in (first, second)]
        assert all(len(each) == 1 for each in modes)
        self.seen.append((first.training, second.training))


def test_a_block_that_is_kept_in_evaluation_mode_stays_so_and_the_others_train(tmp_path: Path) -> None:
    modes = Modes()
    fit = tiny_fit(tmp_path, {"modes": modes}, ["train.steps=3", "train.evaluate_every=1"])
    assert len(fit.of_kind("evaluate")) == 4
    assert modes.seen == [(False, True)] * 3

"""What happens to the first non-finite gradient, and to fp16's overflows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from stoker.checkpoint.manifest import read_manifest
from stoker.errors import NonFiniteError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import Fit, tiny_fit
from stoker.train import finite
from stoker.train.finite import INITIAL_SCALE, SKIPS_BEFORE_FAILURE, FiniteGuard

CPU = torch.device("cpu")


def observe(guard: FiniteGuard, norm: float) -> tuple[float, float]:
    guard.observe(torch.tensor(norm))
    return float(guard.found_inf), float(guard.failed)


def test_the_first_non_finite_norm_stops_that_step_and_all_later_ones() -> None:
    guard = FiniteGuard(CPU, scales_loss=False)
    assert observe(guard, 1.0) == (0, 0)
    assert observe(guard, math.nan) == (1, 1)
    assert observe(guard, 1.0) == (1, 1)


def test_an_overflow_with_loss_scaling_skips_one_step_and_halves_the_scale() -> None:
    guard = FiniteGuard(CPU, scales_loss=True)
    before = float(guard.scale)
    assert observe(guard, math.inf) == (1, 0)
    assert float(guard.scale) == before / 2
    assert observe(guard, 1.0) == (0, 0)
    assert float(guard.num_skipped) == 1


def test_twenty_overflows_in_a_row_fail_and_nineteen_do_not() -> None:
    guard = FiniteGuard(CPU, scales_loss=True)
    for _ in range(SKIPS_BEFORE_FAILURE - 1):
        observe(guard, math.inf)
    assert observe(guard, 1.0) == (0, 0)
    for _ in range(SKIPS_BEFORE_FAILURE):
        last = observe(guard, math.inf)
    assert last == (1, 1)


def test_the_scale_doubles_after_two_thousand_good_steps() -> None:
    guard = FiniteGuard(CPU, scales_loss=True)
    before = float(guard.scale)
    for _ in range(1999):
        observe(guard, 1.0)
    assert float(guard.scale) == before
    observe(guard, 1.0)
    assert float(guard.scale) == 2 * before


def test_scale_and_interval_are_those_of_torch_s_own_scaler() -> None:
    scaler = torch.amp.GradScaler("cpu")
    assert scaler.get_scale() == finite.INITIAL_SCALE
    assert scaler.get_growth_interval() == finite.GROWTH_INTERVAL


def test_the_state_of_loss_scaling_is_restored_and_ignored_without_it() -> None:
    guard, other = (FiniteGuard(CPU, scales_loss=True) for _ in range(2))
    for norm in (1.0, math.inf, 1.0, 1.0):
        observe(guard, norm)
    state = guard.save_state()
    assert state == {
        "loss_scale": INITIAL_SCALE / 2,
        "good_steps_in_a_row": 2,
        "skipped_steps_in_a_row": 0,
    }
    other.load_state(state)
    assert other.save_state() == state
    unscaled = FiniteGuard(CPU, scales_loss=False)
    unscaled.load_state(state)
    assert float(unscaled.scale) == 1
    assert unscaled.save_state() == {}
    other.load_state({})
    assert other.save_state() == state


class Overflows(Plugin[PluginConfig]):
    """Makes the gradients of some steps infinite, as too large a scale would."""

    def __init__(self, *steps: int) -> None:
        super().__init__(PluginConfig())
        self.steps = steps

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        if state.step in self.steps:
            for _, gradient in state.engine.gradients():
                gradient.fill_(math.inf)


def fit(folder: Path, steps: int, *overflows: int, precision: str = "fp16_mixed", **more: Any) -> Fit:
    settings = [f"train.steps={steps}", f"train.precision={precision}", "train.schedule=constant"]
    return tiny_fit(folder, {"overflows": Overflows(*overflows)}, settings, **more)


def skipped(done: Fit) -> list[str]:
    return [event["message"] for event in done.of_kind("note") if "overflowed" in event["message"]]


def test_a_skipped_step_is_a_note_with_the_scale_it_leads_to(tmp_path: Path) -> None:
    assert skipped(fit(tmp_path, 6, 2, 5)) == [
        "skipped step 2: float16 gradients overflowed. The loss scale is now 32768",
        "skipped step 5: float16 gradients overflowed. The loss scale is now 16384",
    ]


def test_a_run_that_goes_on_has_the_losses_and_the_scale_of_one_that_was_never_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale halves before the interruption, and grows by good steps from both sides of it."""
    monkeypatch.setattr(finite, "GROWTH_INTERVAL", 3)
    whole = fit(tmp_path / "a", 8, 2)
    half = fit(tmp_path / "b", 4, 2)
    state = read_manifest(half.outcome.checkpoint).engine
    assert (state["loss_scale"], state["good_steps_in_a_row"]) == (INITIAL_SCALE / 2, 2)
    rest = fit(tmp_path / "b", 8, directory=half.directory)
    assert rest.losses == whole.losses
    assert rest.run.engine.save_state() == whole.run.engine.save_state()
    assert float(rest.run.engine.guard.scale) == 2 * INITIAL_SCALE, "after steps 5 and 8"
    for name, parameter in whole.run.engine.model.named_parameters():
        assert torch.equal(rest.run.engine.model.get_parameter(name), parameter)


def test_overflows_in_a_row_are_counted_over_an_interruption(tmp_path: Path) -> None:
    always = range(1, SKIPS_BEFORE_FAILURE + 9)
    half = fit(tmp_path, SKIPS_BEFORE_FAILURE - 1, *always)
    with pytest.raises(NonFiniteError, match=f"gradient of step {SKIPS_BEFORE_FAILURE} "):
        fit(tmp_path, SKIPS_BEFORE_FAILURE + 3, *always, directory=half.directory)


def test_a_run_that_goes_on_in_another_precision_does_without_the_scale(tmp_path: Path) -> None:
    half = fit(tmp_path, 3, 2)
    rest = fit(tmp_path, 5, precision="bf16_mixed", directory=half.directory)
    assert read_manifest(half.outcome.checkpoint).engine["loss_scale"] == INITIAL_SCALE / 2
    assert read_manifest(rest.outcome.checkpoint).engine == {}
    assert len(rest.losses) == 5

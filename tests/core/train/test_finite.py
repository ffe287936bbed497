"""What happens to the first non-finite gradient, and to fp16's overflows."""

import math

import torch

from stoker.train.finite import SKIPS_BEFORE_FAILURE, FiniteGuard

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

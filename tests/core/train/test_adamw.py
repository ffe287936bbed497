"""Our AdamW with float32 moments, against a float64 reference that is written out."""

import math

import pytest
import torch

from stoker.train.adamw import AdamWFloat32States

RATE, BETAS, EPSILON, DECAY = 1e-2, (0.9, 0.999), 1e-8, 0.1


def reference(weight: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    """AdamW in float64, one line for each line of the paper."""
    w = weight.double()
    m = torch.zeros_like(w)
    v = torch.zeros_like(w)
    for t, gradient in enumerate(gradients, start=1):
        g = gradient.double()
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g * g
        m_hat, v_hat = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
        w = w - RATE * (m_hat / (v_hat.sqrt() + EPSILON) + DECAY * w)
    return w


def run_ours(weight: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = AdamWFloat32States([parameter], lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    for gradient in gradients:
        parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()
    return parameter.detach()


def test_it_equals_the_float64_reference_on_float32_weights() -> None:
    torch.manual_seed(0)
    weight = torch.randn(50, 7)
    gradients = [torch.randn(50, 7) * 10 ** (step % 5 - 3) for step in range(30)]
    torch.testing.assert_close(
        run_ours(weight, gradients).double(), reference(weight, gradients), rtol=1e-5, atol=1e-6
    )


def test_a_bfloat16_weight_is_the_reference_rounded_once() -> None:
    torch.manual_seed(0)
    weight = torch.randn(1000).bfloat16()
    gradients = [torch.randn(1000).bfloat16()]
    assert torch.equal(run_ours(weight, gradients), reference(weight, gradients).bfloat16())


def test_rounding_errors_of_bfloat16_weights_only_add_up() -> None:
    torch.manual_seed(0)
    weight = torch.randn(1000).bfloat16()
    gradients = [torch.randn(1000).bfloat16() for _ in range(10)]
    error = (run_ours(weight, gradients).double() - reference(weight, gradients)).abs()
    # bfloat16 rounds by at most 2**-8 of the value; a weight moves by about RATE a step.
    assert (error <= 10 * 2**-8 * (weight.double().abs() + 10 * 2 * RATE)).all()


def test_float32_moments_keep_what_bfloat16_moments_lose() -> None:
    """The second moment changes by 0.1 % a step, less than bfloat16 can resolve."""
    gradients = [torch.full((64,), 0.01) for _ in range(200)]
    parameter = torch.nn.Parameter(torch.zeros(64, dtype=torch.bfloat16))
    optimizer = AdamWFloat32States([parameter], lr=1e-6)
    for gradient in gradients:
        parameter.grad = gradient.bfloat16()
        optimizer.step()
    expected = (1 - 0.999**200) * gradients[0].bfloat16().float() ** 2
    torch.testing.assert_close(optimizer.state[parameter]["exp_avg_sq"], expected, rtol=1e-4, atol=0)


def test_a_step_with_found_inf_changes_nothing_at_all() -> None:
    parameter = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = AdamWFloat32States([parameter], lr=0.1)
    optimizer.found_inf = torch.zeros(())
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    before = {name: value.clone() for name, value in optimizer.state[parameter].items()}
    weight = parameter.detach().clone()
    optimizer.found_inf.fill_(1)
    parameter.grad = torch.full_like(parameter, math.nan)
    optimizer.step()
    assert torch.equal(parameter, weight)
    assert all(torch.equal(optimizer.state[parameter][name], before[name]) for name in before)
    assert float(optimizer.state[parameter]["step"]) == pytest.approx(1)

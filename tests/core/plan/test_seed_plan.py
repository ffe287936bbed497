"""A plan under the profile seed is the guide's arithmetic in the shape of every other plan."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.plan.seed_findings import findings
from stoker.plan.seed_plan import seed_plan

B = 1e9


def test_a_plan_with_the_guide_s_numbers() -> None:
    plan = seed_plan("llama-3-8b", 4, "zero-2")
    assert plan["per_gpu"]["weights"] == 16 * B
    assert plan["per_gpu"]["total"] == 36 * B
    assert plan["per_gpu"]["capacity"] == 80 * B
    assert plan["fits"] is True
    assert plan["hours"] == {"low": 4, "mid": 6, "high": 8}
    assert (plan["cost_usd"]["low"], plan["cost_usd"]["high"]) == (24, 96)
    assert plan["steps"] == 938
    assert plan["step_seconds"]["low"] == pytest.approx(4 * 3600 / 938)


def test_a_plan_for_one_gpu_counts_activations() -> None:
    plan = seed_plan(7e9, 1)
    assert plan["per_gpu"]["total"] == 86 * B
    assert plan["per_gpu"]["activations"] == 2 * B
    assert plan["fits"] is False


def test_a_plan_says_where_the_guide_contradicts_itself() -> None:
    assert seed_plan("8b")["findings"] == [finding.sentence() for finding in findings()]


def test_a_plan_for_an_adapter() -> None:
    plan = seed_plan("8b", 1, method="qlora", gpu="rtx-4090")
    assert plan["fits"] is True
    assert plan["per_gpu"]["weights"] == pytest.approx(4 * B + 0.16 * B)
    assert any("QLoRA" in said for said in plan["assumptions"])


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("gpt2",), {}, "'gpt2'"),
        (("8b", 0), {}, "gpus cannot be 0"),
        (("8b", 1, "zero-4"), {}, "Did you mean 'zero-"),
        (("8b",), {"gpu": "a100-80"}, "Did you mean 'a100-80gb'"),
        (("8b",), {"method": "dora"}, "no method 'dora'"),
        ((-1.0,), {}, "cannot have"),
        (("nan",), {}, "cannot have"),
    ],
)
def test_what_the_guide_does_not_have_is_named(arguments, options, said) -> None:
    with pytest.raises(UsageError) as raised:
        seed_plan(*arguments, **options)
    assert said in str(raised.value)

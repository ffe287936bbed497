"""The answer: what the tree says, as far as it fits and may cost, and its neighbours."""

from __future__ import annotations

import pytest

from stoker.advice.advise import advise
from stoker.advice.as_json import as_dict
from stoker.errors import UsageError

BIG = {"examples": 200_000, "domain_shift": True, "gpus": 8}


@pytest.fixture
def answer(ask, planner, matrix):
    return lambda **changes: advise(ask(**changes), planner, matrix)


def by_part(advice) -> dict[str, tuple[str, str]]:
    return {reason.part: (reason.value, reason.rule) for reason in advice.reasons}


def test_few_examples_on_one_gpu(answer) -> None:
    advice = answer(gpus=1)
    assert advice.status == "recommended"
    assert by_part(advice) == {
        "method": ("lora", "few-examples"),
        "engine": ("default", "one-gpu"),
        "precision": ("bf16_mixed", "mixed"),
        "offload": ("none", "no-offload"),
        "checkpointing": ("none", "recompute-if-needed"),
        "attention": ("auto", "flash"),
        "batch": ("8 x 1 x 4", "effective-batch"),
        "spot": ("yes", "spot"),
    }
    assert advice.better.candidate.method == "full"


def test_a_domain_shift_with_many_examples_and_gpus(answer) -> None:
    advice = answer(**BIG)
    assert by_part(advice)["method"] == ("full", "domain-shift")
    assert by_part(advice)["engine"] == ("fsdp-shard_grad_op", "single-node")
    assert by_part(advice)["checkpointing"] == ("full", "recompute")
    assert (advice.better.candidate.method, advice.better.candidate.model) == ("qlora", "llama-3-70b")
    assert advice.cheaper.candidate.method == "lora"
    assert advice.cheaper.estimate.usd.mid < advice.choice.estimate.usd.mid


def test_cheaper_is_the_cheapest_of_what_costs_less(answer, planner) -> None:
    # At one price for all GPUs LoRA on one of them costs what it costs on four, and QLoRA more.
    assert answer().cheaper is None
    planner.price_of = {"rtx-4090": 0.5, "l40s-48gb": 1.0}
    cheaper = answer().cheaper
    assert (cheaper.candidate.method, cheaper.candidate.gpu, cheaper.candidate.gpus) == (
        "lora",
        "rtx-4090",
        1,
    )
    hours = answer().choice.estimate.hours.high
    assert answer(hours=hours).cheaper is None


def test_full_fine_tuning_that_does_not_fit_becomes_an_adapter_and_says_so(answer) -> None:
    advice = answer(gpu="rtx-4090", gpus=1, continued_pretraining=True)
    assert by_part(advice)["method"] == ("lora", "next-that-fits")
    assert "full is wanted" in advice.reasons[0].because


def test_qlora_where_lora_does_not_fit(answer) -> None:
    advice = answer(gpu="t4-16gb", gpus=1)
    assert by_part(advice)["method"] == ("qlora", "next-that-fits")
    assert by_part(advice)["precision"] == ("fp16_mixed", "no-bf16")


def test_a_second_choice_says_what_the_first_was(answer) -> None:
    advice = answer(gpus=1, continued_pretraining=True)
    precision = next(reason for reason in advice.reasons if reason.part == "precision")
    assert precision.value == "bf16"
    assert "bf16_mixed does not fit" in precision.because
    assert not any("does not fit or" in each.because for each in answer(**BIG).reasons)


def test_nothing_fits_and_the_smallest_thing_that_would_is_named(answer) -> None:
    advice = answer(model="llama-3.1-405b", gpus=1)
    assert (advice.status, advice.choice, advice.reasons) == ("does_not_fit", None, ())
    assert advice.rung.elsewhere.candidate.gpus > 1
    assert as_dict(advice)["smallest"]["gpus"] == advice.rung.elsewhere.candidate.gpus


def test_the_budget_decides_between_methods_by_the_high_end(answer) -> None:
    full = answer(**BIG).choice.estimate.usd.high
    assert answer(**BIG, budget_usd=full).rung.method == "full"
    spot = answer(**BIG, budget_usd=full * 0.6)
    assert spot.rung.method == "full"
    assert spot.spot
    assert answer(**BIG, budget_usd=full * 0.4).rung.method == "lora"


def test_over_every_budget_nothing_is_recommended_but_the_cheapest_is_named(answer) -> None:
    advice = answer(**BIG, budget_usd=1.0)
    assert (advice.status, advice.choice) == ("over_limits", None)
    assert advice.rung.here.estimate.usd.mid == min(
        rung.here.estimate.usd.mid for rung in advice.ladder[:3]
    )


def test_hours_are_a_limit_too(answer) -> None:
    hours = answer().choice.estimate.hours.high
    assert answer(hours=hours).status == "recommended"
    assert answer(hours=hours * 0.99).status == "over_limits"


@pytest.mark.parametrize(
    ("price", "spot_price", "value", "said"),
    [
        (2.0, 0.8, "yes", "60% cheaper"),
        (2.0, 2.5, "no", "would not surely be cheaper"),
        (2.0, None, "no", "no lower spot price"),
        (None, None, "no", "no price"),
    ],
)
def test_spot_machines_where_they_pay(answer, planner, price, spot_price, value, said) -> None:
    planner.price, planner.spot_price = price, spot_price
    reason = answer().reasons[-1]
    assert (reason.part, reason.value) == ("spot", value)
    assert said in reason.because


def test_a_budget_without_a_price_recommends_nothing(answer, planner) -> None:
    planner.price = planner.spot_price = None
    assert answer(budget_usd=1e6).status == "over_limits"


def test_an_unknown_gpu_is_refused(answer) -> None:
    with pytest.raises(UsageError, match="'a100'"):
        answer(gpu="a100")


def test_rows_that_are_stated_longer_than_the_model_s_positions_are_refused(answer) -> None:
    with pytest.raises(UsageError, match="8192 positions"):
        answer(sequence_length=8193)


def test_the_answer_as_json_has_the_trace_and_the_ladder(answer) -> None:
    said = as_dict(answer(assumed=("not multi-task",)))
    assert [step["rule"] for step in said["trace"] if step["decides"]] == ["few-examples"]
    assert [rung["method"] for rung in said["ladder"]] == ["qlora", "lora", "full"] * 2
    assert said["recommended"] == said["ladder"][1]["choice"]
    assert said["assumed"] == ["not multi-task"]

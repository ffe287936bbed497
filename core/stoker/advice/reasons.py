"""Each part of a recommendation, the rule that it came from, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stoker.advice.estimator import Estimate
from stoker.advice.ladder import Rung
from stoker.advice.rules import Decision, Training
from stoker.advice.search import Choice
from stoker.advice.strategy import Preference
from stoker.capabilities import DEFAULTS
from stoker.plan.guide import GUIDE

METHODS_FOR: Mapping[Training, tuple[str, ...]] = {
    "full": ("full", "lora", "qlora"),
    "adapter": ("lora", "qlora"),
}
"""What is tried, in this order, for what the tree says."""


@dataclass(frozen=True)
class Reason:
    """One part of the answer and why it is so."""

    part: str
    value: str
    rule: str
    because: str


def give_reasons(decision: Decision, rung: Rung, choice: Choice, spot: bool) -> Iterator[Reason]:
    """The method first, then the parts of its strategy, the batch, and what kind of machine."""
    yield _method_reason(decision, rung)
    values = {**DEFAULTS, **choice.candidate.values}
    for part, value in (
        ("engine", values["engine"]),
        ("precision", _with_optimizer(values)),
        ("offload", values["offload"]),
        ("checkpointing", values["checkpointing"]),
        ("attention", values["attention"]),
    ):
        rule = choice.preferences[part]
        yield Reason(part, value, rule.name, _because(part, value, rule))
    candidate = choice.candidate
    yield Reason(
        "batch",
        f"{candidate.micro_batch_size} x {candidate.gpus} x {candidate.accumulation}",
        "effective-batch",
        f"rows at once (as many as fit) x GPUs x accumulation = {candidate.batch_size} rows a step",
    )
    yield _spot_reason(choice.estimate, spot)


def _method_reason(decision: Decision, rung: Rung) -> Reason:
    first = METHODS_FOR[decision.trains][0]
    if rung.method == first:
        return Reason("method", rung.method, decision.rule.name, decision.rule.because)
    because = f"{first} is wanted ({decision.rule.because}), but it does not fit here within the limits"
    return Reason("method", rung.method, "next-that-fits", because)


def _with_optimizer(values: Mapping[str, str]) -> str:
    optimizer = values.get("optimizer", "default")
    return values["precision"] + ("" if optimizer == "default" else f", {optimizer}")


def _because(part: str, value: str, rule: Preference) -> str:
    """The rule's reason; where the first of what it tries was not taken, why."""
    if part == "checkpointing" and value == "none":
        return "at least two rows fit without recomputing, which would take a third more compute"
    first = {**DEFAULTS, **rule.tries[0]}
    wanted = _with_optimizer(first) if part == "precision" else first[part]
    if part == "checkpointing" or value == wanted:
        return rule.because
    return f"{rule.because}; {wanted} does not fit or is not offered by the installed plugins"


def _spot_reason(estimate: Estimate, spot: bool) -> Reason:
    usd, cheap = estimate.usd, estimate.spot_usd
    if usd is None or cheap is None:
        what = "price" if usd is None else "lower spot price"
        return Reason("spot", "no", "spot", f"no {what} of this GPU is known")
    saved = 1 - cheap.mid / usd.mid
    low, high = GUIDE.spot_saves
    if not spot:
        return Reason("spot", "no", "spot", "with work done again it would not surely be cheaper")
    said = f"{saved:.0%} cheaper, work done again counted (the guide: {low:.0%} to {high:.0%})"
    return Reason("spot", "yes", "spot", f"{said}; a run goes on from its newest checkpoint")

"""The answer: what to train and how, why, and what the neighbours on the ladder would give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from stoker.advice.estimator import Estimate, Planner
from stoker.advice.ladder import Rung, make_ladder
from stoker.advice.question import Question
from stoker.advice.reasons import METHODS_FOR, Reason, give_reasons
from stoker.advice.rules import Asked, Decision, decide
from stoker.advice.search import Choice, Search
from stoker.errors import UsageError
from stoker.matrix import Matrix

Status = Literal["recommended", "does_not_fit", "over_limits"]


@dataclass(frozen=True)
class Advice:
    """Everything that `stoker advise` says."""

    question: Question
    decision: Decision
    status: Status
    rung: Rung | None
    """The recommendation; where nothing is recommended, what comes closest to it."""
    ladder: tuple[Rung, ...]
    cheaper: Choice | None
    """The cheapest that is below it: the same or the method below, here or on one smaller GPU."""
    better: Choice | None
    """The rung above, here or on the smallest thing that does it."""
    reasons: tuple[Reason, ...]
    spot: bool

    @property
    def choice(self) -> Choice | None:
        """What is recommended; None where nothing is."""
        return self.rung.here if self.rung and self.status == "recommended" else None


def advise(question: Question, planner: Planner, matrix: Matrix) -> Advice:
    """Decide, search and price. Raises `UsageError` for a model or GPU that is not known."""
    decision = decide(Asked(question, planner.memory_bytes(question.gpu)))
    _check_length(question, planner.max_positions(question.model))
    search = Search(planner, matrix)
    ladder = tuple(make_ladder(question, search))
    rungs = _rungs_for(question, decision, ladder)
    status, rung = _select(question, rungs)
    choice = rung.here if rung and status == "recommended" else None
    spot = bool(choice and _spot_pays(choice.estimate))
    cheaper, better = _neighbours(question, search, rung, ladder) if choice else (None, None)
    reasons = tuple(give_reasons(decision, rung, choice, spot)) if rung and choice else ()
    return Advice(question, decision, status, rung, ladder, cheaper, better, reasons, spot)


def _check_length(question: Question, most: int) -> None:
    if question.sequence_length is not None and question.sequence_length > most:
        raise UsageError(
            f"{question.model} has {most} positions, and rows are to have {question.sequence_length}.",
            hint=f"Give --sequence-length {most} at most, or another model.",
        )


def _rungs_for(question: Question, decision: Decision, ladder: tuple[Rung, ...]) -> list[Rung]:
    """The rungs of the question's model that the decision allows, the preferred first."""
    own = {rung.method: rung for rung in ladder if rung.model == question.model}
    return [own[method] for method in METHODS_FOR[decision.trains] if method in own]


def _select(question: Question, rungs: list[Rung]) -> tuple[Status, Rung | None]:
    """The first that fits within the limits; else the cheapest that fits; else the first at all."""
    fitting = [rung for rung in rungs if rung.here]
    for rung in fitting:
        if rung.here and is_within(question, rung.here.estimate):
            return "recommended", rung
    if fitting:
        return "over_limits", min(fitting, key=_price)
    possible = [rung for rung in rungs if rung.elsewhere]
    return "does_not_fit", min(possible, key=_price, default=None)


def _price(rung: Rung) -> tuple[float, float]:
    """Dollars, then GPU-hours where no price is known."""
    assert rung.choice is not None
    return _usd(rung.choice), rung.choice.estimate.hours.mid * rung.choice.candidate.gpus


def is_within(question: Question, estimate: Estimate) -> bool:
    """Whether even the high end of an estimate keeps to the budget, on spot machines if need be."""
    if question.hours is not None and estimate.hours.high > question.hours:
        return False
    return question.budget_usd is None or any(
        usd.high <= question.budget_usd for usd in (estimate.usd, estimate.spot_usd) if usd
    )


def _spot_pays(estimate: Estimate) -> bool:
    """Whether spot machines are cheaper with the work that is expected to be done again."""
    spot, usual = estimate.spot_usd, estimate.usd
    return bool(spot and usual and spot.mid < usual.mid and spot.high < usual.high)


def _neighbours(
    question: Question, search: Search, rung: Rung | None, ladder: tuple[Rung, ...]
) -> tuple[Choice | None, Choice | None]:
    """What to do with less money, and with more."""
    if rung is None or rung.here is None:
        return None, None
    methods = [each.method for each in ladder if each.model == rung.model]
    below = methods[: methods.index(rung.method)][-1:] if rung.method in methods else []
    places = ladder[ladder.index(rung) + 1 :] if rung in ladder else ()
    better = next((each.choice for each in places if each.choice), None)
    return _cheaper(question, search, rung.here, [rung.method, *below]), better


def _cheaper(question: Question, search: Search, own: Choice, methods: list[str]) -> Choice | None:
    """The cheapest of what costs less, on the GPUs at hand or on one that is no larger."""
    if own.estimate.usd is None:
        return None
    memory, model = search.planner.memory_bytes(question.gpu), own.candidate.model
    smaller = [gpu for gpu in search.planner.gpus() if search.planner.memory_bytes(gpu) <= memory]
    asked = [question, *(replace(question, gpu=gpu, gpus=1, nodes=1) for gpu in smaller)]
    found = [
        choice
        for each in asked
        for method in methods
        if (choice := search.find(each, method, model, offload=False))
        and choice.estimate.usd
        and choice.estimate.usd.mid < own.estimate.usd.mid
        and is_within(question, choice.estimate)
    ]
    return min(found, key=_usd, default=None)


def _usd(choice: Choice) -> float:
    return choice.estimate.usd.mid if choice.estimate.usd else float("inf")

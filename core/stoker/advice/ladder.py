"""From the cheapest prototype to the largest model: what each rung takes, on what is at hand or more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stoker.advice.question import Question
from stoker.advice.search import Choice, Search

METHODS = ("qlora", "lora", "full")
SMALL = 8e9
LARGE = 70e9
"""Parameters of the guide's two sizes."""
FALLBACK = "llama-3"
"""The family that has both, where the model's own has not."""
_LARGE_FROM = 40e9


@dataclass(frozen=True)
class Rung:
    """One method on one model."""

    method: str
    model: str
    here: Choice | None
    """On the GPUs at hand."""
    elsewhere: Choice | None
    """Where it does not fit there: the smallest thing that would do."""

    @property
    def name(self) -> str:
        """`lora llama-3-8b`."""
        return f"{self.method} {self.model}"

    @property
    def choice(self) -> Choice | None:
        """Here if it fits, else elsewhere."""
        return self.here or self.elsewhere


def make_ladder(question: Question, search: Search) -> list[Rung]:
    """QLoRA, LoRA and full fine-tuning of a small and of a large model, one of which is the question's.

    Methods that no installed plugin offers are left out.
    """
    models = ladder_models(
        question.model, search.planner.num_parameters(question.model), search.planner.known_models()
    )
    return [
        _make_rung(question, search, method, model)
        for model in models
        for method in METHODS
        if search.offers(method)
    ]


def _make_rung(question: Question, search: Search, method: str, model: str) -> Rung:
    """Where one method on one model fits."""
    here = search.find(question, method, model)
    elsewhere = None if here else search.smallest(question, method, model)
    return Rung(method, model, here, elsewhere)


def ladder_models(model: str, parameters: float, known: Mapping[str, float]) -> tuple[str, ...]:
    """The small and the large model of the ladder: `model`, and one of its family."""
    is_large = parameters >= _LARGE_FROM
    wanted = SMALL if is_large else LARGE

    def suits(size: float) -> bool:
        return size < parameters if is_large else size > max(parameters, _LARGE_FROM)

    for family in (_family(model), FALLBACK):
        sizes = {name: size for name, size in known.items() if _family(name) == family and suits(size)}
        if sizes:
            other = min(sizes, key=lambda name: abs(sizes[name] - wanted))
            return (other, model) if is_large else (model, other)
    return (model,)


def _family(model: str) -> str:
    """`llama-3` of `llama-3-8b`: what stands before the size."""
    return re.sub(r"-[0-9.x]+[bm]$", "", re.split("[/:]", model.lower())[-1])

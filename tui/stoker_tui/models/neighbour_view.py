"""Recipes one change away that are cheaper or faster."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.run.lines import clean
from stoker_tui.models.comparison_view import CandidateView, candidate_view
from stoker_tui.models.plan_view import Json


@dataclass(frozen=True)
class Neighbour:
    """One change, and what comes of it."""

    kind: str
    """`cheaper`, `faster`, or both."""
    words: str
    """The change: `engine zero-1, 2 rows at once`."""
    steps: int
    """That hours and dollars are of."""
    candidate: CandidateView

    @property
    def amounts(self) -> str:
        """`$16.79, 6.29 h`: what of both is known."""
        money = f"{self.candidate.money}, " if self.candidate.usd is not None else ""
        return f"{money}{self.candidate.time}"


def neighbours_of(found: Json) -> tuple[Neighbour, ...]:
    """Of the bench's `neighbours`; those that there are, one where both are the same."""
    cheaper, faster = found.get("cheaper"), found.get("faster")
    if cheaper and cheaper == faster:
        return (_neighbour("cheaper, faster", cheaper, found),)
    both = (("cheaper", cheaper), ("faster", faster))
    return tuple(_neighbour(kind, each, found) for kind, each in both if each)


def _neighbour(kind: str, each: Json, found: Json) -> Neighbour:
    return Neighbour(kind, clean(each["words"]), found["steps"], candidate_view(kind, each))

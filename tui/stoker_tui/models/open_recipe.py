"""The recipe that Compose edits and Plan shows, and what is known of it at the moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.run.lines import clean
from stoker_tui.models.compose.document import Document
from stoker_tui.models.neighbour_view import Neighbour
from stoker_tui.models.plan_view import Json, PlanView

if TYPE_CHECKING:
    from stoker_tui.models.session import Session


@dataclass(frozen=True)
class Machine:
    """What a plan is made for."""

    gpu: str = ""
    """A type of GPU; empty: what this machine has."""
    gpus: int = 0
    """How many; 0: as many as the recipe's launch table says."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """Options of `stoker plan`."""
        gpu = ("--gpu", self.gpu) if self.gpu else ()
        return (*gpu, *(("--gpus", str(self.gpus)) if self.gpus else ()))

    @property
    def options(self) -> dict[str, Any]:
        """The same, as the bench takes them."""
        gpu: dict[str, Any] = {"gpu": self.gpu} if self.gpu else {}
        return {**gpu, "gpus": self.gpus} if self.gpus else gpu

    @property
    def words(self) -> str:
        """`8 x h100-80gb`, `h100-80gb`, `this machine`."""
        gpu = self.gpu or "this machine"
        return f"{self.gpus} x {gpu}" if self.gpus else gpu


@dataclass(frozen=True)
class Live:
    """What is known of a recipe at the moment."""

    plan: PlanView | None = None
    problem: str = ""
    """Why there is no plan."""
    is_stale: bool = False
    """Whether another one is being made."""
    neighbours: tuple[Neighbour, ...] = ()
    is_looking: bool = False
    """Whether neighbours are still looked for."""


@dataclass
class OpenRecipe:
    """A document with what `check` and `plan` say of it."""

    document: Document
    machine: Machine = field(default_factory=Machine)
    problems: tuple[Json, ...] = ()
    """As `stoker check --json` has them."""
    is_checked: bool = False
    """Whether `problems` are of the text as it is."""
    live: Live = field(default_factory=Live)

    @property
    def title(self) -> str:
        """Where it is, or what it was made from."""
        document = self.document
        return clean(
            str(document.path) if document.path else f"new recipe, {document.source}".rstrip(", ")
        )

    @property
    def num_errors(self) -> int:
        return sum(problem["severity"] == "error" for problem in self.problems)

    def problems_of(self, key: str) -> list[Json]:
        """Problems of a key, and of what is inside of it."""
        return [each for each in self.problems if _is_within(str(each["key"]), key)]


def asked_for(session: Session) -> Path | None:
    """The recipe that somebody asked for and that is not open yet; the question is taken off."""
    asked, session.recipe = session.recipe, None
    is_open = session.draft is not None and session.draft.document.path == asked
    return None if is_open else asked


def _is_within(key: str, table: str) -> bool:
    return key == table or key.startswith(f"{table}.")

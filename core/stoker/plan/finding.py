"""What a look at the guide's numbers found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place where the guide does not add up."""

    name: str
    where: str
    """Section of the guide."""
    kind: Literal["contradiction", "omission"]
    """Two of its numbers exclude each other; or a number holds only without what a run needs."""
    says: str
    """In our own words."""
    follows: str
    """From its own numbers."""
    advice: str
    """What stoker does, or what to do."""
    numbers: Mapping[str, float]
    """What was computed, by name, in the unit of the name."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "numbers": dict(self.numbers)}

    def sentence(self) -> str:
        """In one line, for `findings` of a plan."""
        return f"{self.says} {self.follows} {self.advice}"

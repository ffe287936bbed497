"""Which share of its data sheet a GPU attains in training: fitted, with the spread of what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import tomli


@dataclass(frozen=True)
class Attained:
    """Constants of one type of GPU."""

    matmul: float
    """Share of the data sheet's FLOPs in linear layers."""
    attention: float
    """The same in attention; a share of executed FLOPs."""
    moves: float
    """How often the bytes of `Work.moved_bytes` cross the memory bus, without compilation."""
    exposed: float
    """Share of communication that computation does not hide, where it could."""
    spread: float
    """Share by which nine in ten of the scored runs were nearer to the prediction."""
    source: str = ""

    @property
    def is_fitted(self) -> bool:
        """Whether runs on this type stand behind the numbers."""
        return self != _table()["default"]


@cache
def _table() -> Mapping[str, Attained]:
    table = tomli.loads(files("stoker.plan").joinpath("attained.toml").read_text("utf-8"))
    table.pop("as_of")
    default = table["default"]
    return {name: Attained(**{**default, **entry}) for name, entry in table.items()}


def attained(gpu: str) -> Attained:
    """The constants of a type by our name; the default's where no published run is of that type."""
    return _table().get(gpu, _table()["default"])

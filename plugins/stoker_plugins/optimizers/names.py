"""Which optimizers there are and what each takes, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Name = Literal[
    "adamw",
    "adamw_8bit",
    "paged_adamw",
    "paged_adamw_8bit",
    "adafactor",
    "sgd",
    "lion",
    "lion_8bit",
    "paged_lion",
    "paged_lion_8bit",
]

_ADAMW = {"betas": (0.9, 0.999), "eps": 1e-8}
_LION = {"betas": (0.9, 0.99)}
_IN_8_BITS = {"min_8bit_size": 4096}

OPTIONS: Mapping[Name, Mapping[str, Any]] = {
    "adamw": _ADAMW,
    "adamw_8bit": {**_ADAMW, **_IN_8_BITS},
    "paged_adamw": _ADAMW,
    "paged_adamw_8bit": {**_ADAMW, **_IN_8_BITS},
    "adafactor": {"beta2_decay": -0.8, "clipping_threshold": 1.0, "min_scale": 1e-3},
    "sgd": {"momentum": 0.9, "nesterov": False},
    "lion": _LION,
    "lion_8bit": {**_LION, **_IN_8_BITS},
    "paged_lion": _LION,
    "paged_lion_8bit": {**_LION, **_IN_8_BITS},
}
"""What each optimizer takes, with the value where a recipe says nothing: the library's own, but for
SGD's momentum."""

BITSANDBYTES = ("*_8bit", "paged_*", "lion*")
"""Patterns of those that bitsandbytes gives; the others are torch's."""
PAGED = "paged_*"
NOT_ADAMW = tuple(name for name in OPTIONS if name != "adamw")


def takers(option: str) -> list[str]:
    """The optimizers that take an option."""
    return [name for name, options in OPTIONS.items() if option in options]

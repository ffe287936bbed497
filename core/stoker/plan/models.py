"""Well-known models by name, for a planner that has no hub. The table is `models.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import tomli

from stoker.errors import UsageError
from stoker.recipe.problems import did_you_mean

_VARIANT = re.compile(r"-(instruct|chat|it|base|hf)(?=-|$)|^meta-|-v0\.1$")
"""Parts of a hub id that name a fine-tuned or converted variant: its sizes are those of its base."""


@dataclass(frozen=True)
class KnownModel:
    """A published model."""

    name: str
    hub_id: str
    parameters: int
    """As published; tied ones once."""
    config: Mapping[str, Any]
    """The entries of its `config.json` that decide sizes."""


@cache
def known_models() -> Mapping[str, KnownModel]:
    """All models of the table, by name."""
    table = tomli.loads(files("stoker.plan").joinpath("models.toml").read_text("utf-8"))
    return {name: KnownModel(name=name, **entry) for name, entry in table["models"].items()}


def find_model(name: str) -> KnownModel:
    """The model of that name or hub id; of a chat or instruct variant, the model that it comes from.

    Raises `UsageError` with the nearest names.
    """
    known = known_models()
    spellings = {_base(model.hub_id): model for model in known.values()}
    found = known.get(name.lower()) or spellings.get(_base(name)) or known.get(_base(name))
    if found is None:
        raise UsageError(
            f"no model {name!r} is known. {did_you_mean(_base(name), known)}".rstrip(),
            hint="Give a folder with its config.json (weights need not be there), or one of "
            f"{', '.join(known)}.",
        )
    return found


def find_model_config(name: str) -> dict[str, Any]:
    """The `config.json` entries of `find_model(name)`, to change at will."""
    return dict(find_model(name).config)


def _base(name: str) -> str:
    return _VARIANT.sub("", name.lower().rpartition("/")[2])

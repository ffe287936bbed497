"""What ranks of the pool do for tests that measure: one cell together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stoker.plan.measured import Setting
from stoker.testing.fit import tiny_recipe
from stoker.train.measuring.measure import measure


def cell(folder: str, overrides: list[str], setting: dict[str, Any]) -> dict[str, Any]:
    """What this rank measured, as JSON."""
    own = Path(folder) / os.environ["RANK"]
    own.mkdir(exist_ok=True)
    return measure(tiny_recipe(own, overrides), Setting.from_json(setting)).to_json()

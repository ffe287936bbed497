"""A recipe that is right, for tests to make wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """\
[run]
name = "good"

[model]
path = "demo:tiny-llama"
initial_weights = "random"

[data]
train = [{ path = "demo:docstrings" }]
sequence_length = 64

[train]
steps = 10
batch_size = 8
micro_batch_size = 2
learning_rate = 1e-3

[plugins.demo]
"""


@pytest.fixture
def good() -> str:
    """The text of a recipe that is right."""
    return GOOD


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """`write_recipe(text)` or `write_recipe(name=..., replace={old: new})`: a file in `tmp_path`."""

    def write(
        text: str = GOOD, *, name: str = "recipe.toml", replace: dict[str, str] | None = None
    ) -> Path:
        for old, new in (replace or {}).items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write

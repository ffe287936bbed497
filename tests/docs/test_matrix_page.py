"""docs/matrix.md says what the shipped plugins declare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date(docs_script: Callable[[str], ModuleType]) -> None:
    page = (DOCS / "matrix.md").read_text(encoding="utf-8")
    assert docs_script("write_matrix").page() == page, "run `python docs/write_matrix.py`"

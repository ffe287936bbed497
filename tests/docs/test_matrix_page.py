"""docs/matrix.md says what the shipped plugins declare."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("write_matrix", DOCS / "write_matrix.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (DOCS / "matrix.md").read_text(encoding="utf-8")
    assert script.page() == page, "run `python docs/write_matrix.py`"

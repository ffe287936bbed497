"""docs/data shows what the code makes of the rows on its pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stoker.data.formats import COLUMNS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "data").glob("*.md"))


@pytest.fixture(scope="module")
def script(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("write_data")


@pytest.fixture(scope="module")
def tokenizer(script: ModuleType) -> Any:
    return script.smollm2_tokenizer()


def test_every_format_has_a_page() -> None:
    assert [page.stem for page in PAGES] == sorted(COLUMNS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_are_what_the_code_makes_of_the_rows(
    page: Path, script: ModuleType, tokenizer: Any
) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("```text") == len(script.BLOCKS.findall(text)) >= 2
    assert script.filled(text, tokenizer) == text, "run `python docs/write_data.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_is_supervised_and_what_is_refused(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for column in COLUMNS[page.stem]:  # type: ignore[index]
        assert f"| `{column}` |" in text
    assert re.search(r"^  \+ ", text, re.MULTILINE)
    assert re.search(r"row \d: .* is missing; columns found", text)

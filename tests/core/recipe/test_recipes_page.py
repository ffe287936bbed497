"""docs/recipes.md says what the code says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from stoker.recipe.fields import table_model
from stoker.recipe.loading import inspect_recipe
from stoker.recipe.schema import RecipeTables
from stoker.registry import installed_plugins, load_plugin_class

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "recipes.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("write_recipes")


def test_the_page_is_up_to_date(script: ModuleType) -> None:
    assert script.page() == PAGE, "run `python docs/write_recipes.py`"


def test_every_table_and_key_is_on_the_page() -> None:
    for heading, table in tables():
        section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        for name, field in table.model_fields.items():
            (row,) = (line for line in section.splitlines() if line.startswith(f"| `{name}` |"))
            assert ("| required |" in row) == field.is_required(), row
            assert field.description
            assert field.description.replace("|", r"\|") in row


def tables() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in RecipeTables.model_fields.items():
        if table := table_model(field.annotation):
            yield f"[{name}]", table
    for name, point in installed_plugins().items():
        if point.value.startswith("stoker_plugins."):
            yield f"[plugins.{name}]", load_plugin_class(name).Config


def test_the_recipe_on_the_page_is_right(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "recipe.toml").write_text(text)
    assert inspect_recipe(tmp_path / "recipe.toml")[1] == []

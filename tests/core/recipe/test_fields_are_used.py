"""Every key of a recipe is read by something: one that nothing reads would promise what is not done."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from stoker import PluginConfig
from stoker.recipe.fields import table_model
from stoker.recipe.schema import DataSource, RecipeTables
from stoker.registry import installed_plugins, load_plugin_class

REPOSITORY = Path(__file__).parents[3]
TABLES: dict[str, type[BaseModel]] = {
    name: table
    for name, field in RecipeTables.model_fields.items()
    if (table := table_model(field.annotation))
}


def unread(table: type[BaseModel], root: Path, names: set[str]) -> set[str]:
    """Fields that no code under `root` reads from anything called one of `names`."""
    read = {field for path in root.rglob("*.py") for field in reads(path.read_text(), names)}
    return set(table.model_fields) - read


def reads(source: str, names: set[str]) -> Iterator[str]:
    """`x.field` where x is, ends in or is assigned from one of `names`: `recipe.train`, `train`."""
    tree = ast.parse(source)
    known = names | set(aliases(tree, names))
    for node in ast.walk(tree):
        is_read = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        if is_read and last_name(node.value) in known:
            yield node.attr


def aliases(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """`x` of `x = recipe.train` and of `x, y = recipe.train, recipe.launch`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            is_pair = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            pairs = zip(target.elts, value.elts, strict=False) if is_pair else [(target, value)]
            for name, assigned in pairs:
                if isinstance(name, ast.Name) and last_name(assigned) in names:
                    yield name.id


def last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("name", TABLES)
def test_every_key_of_the_core_is_read_by_the_core(name: str) -> None:
    assert unread(TABLES[name], REPOSITORY / "core", {name, f"_{name}"}) == set()


def test_every_key_of_a_source_is_read() -> None:
    assert unread(DataSource, REPOSITORY / "core", {"source"}) == set()


@pytest.mark.parametrize("name", installed_plugins())
def test_every_option_of_a_plugin_is_read_by_that_plugin(name: str) -> None:
    plugin_class = load_plugin_class(name)
    module = Path(inspect.getfile(plugin_class))
    root = module.parent if module.name == "__init__.py" else module
    assert unread(plugin_class.Config, root, {"config"}) == set()


def test_all_tables_are_looked_at() -> None:
    assert set(TABLES) == set(RecipeTables.model_fields) - {"plugins"}


def test_a_field_that_nothing_reads_is_found(tmp_path: Path) -> None:
    class Config(PluginConfig):
        read: int = Field(description="Read.")
        by_another_name: int = Field(description="Read.")
        only_set: int = Field(description="Never read.")
        of_another: int = Field(description="Never read.")

    (tmp_path / "plugin.py").write_text(
        "def use(self, other):\n"
        "    print(self.config.read)\n"
        "    options = self.config\n"
        "    options.only_set = options.by_another_name\n"
        "    return other.of_another\n"
    )
    assert unread(Config, tmp_path, {"config"}) == {"only_set", "of_another"}

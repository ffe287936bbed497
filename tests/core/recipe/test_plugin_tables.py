"""`[plugins.*]` tables are validated by the plugins they name, and by no other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl, registry
from stoker.recipe.loading import inspect_recipe, load_recipe
from stoker.recipe.problems import Problem

Write = Callable[..., Path]


class OddConfig(PluginConfig):
    """Options of every kind."""

    count: int = Field(default=1, description="A number.")
    names: list[str] | None = Field(default=None, description="Some names.")
    file: Path | None = Field(default=None, description="A file.")


class Odd(Plugin[OddConfig]):
    """Complains when asked to."""

    Config: ClassVar[type[PluginConfig]] = OddConfig
    conflicts_with = ("lora",)

    @hookimpl
    def collect_problems(self, recipe: Any) -> Any:
        if self.config.count == 13:
            return [Problem(key="train.steps", message="13 is unlucky.")]
        return ["text"] if self.config.count == 14 else []


@pytest.fixture(autouse=True)
def odd_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more installed plugins, `odd` and `broken`."""
    module = type(sys)("odd_module")
    module.Odd = Odd  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "odd_module", module)
    points = {
        "odd": EntryPoint("odd", "odd_module:Odd", "stoker.plugins"),
        "broken": EntryPoint("broken", "no_such_module:Broken", "stoker.plugins"),
    }
    installed = {**registry.installed_plugins(), **points}
    for module_name in ("stoker.registry", "stoker.recipe.plugin_tables", "stoker.recipe.loading"):
        monkeypatch.setattr(f"{module_name}.installed_plugins", lambda: installed)


def found_in(path: Path) -> dict[str, Problem]:
    return {problem.key: problem for problem in inspect_recipe(path)[1]}


def with_tables(write_recipe: Write, text: str) -> Path:
    return write_recipe(replace={"[plugins.demo]\n": f"[plugins.demo]\n{text}\n"})


def test_options_are_validated_strictly_and_placed(write_recipe: Write) -> None:
    text = '[plugins.odd]\ncount = "3"\nnames = ["a", 2]\ncout = 1'
    found = found_in(with_tables(write_recipe, text))
    assert found["plugins.odd.count"].message == 'found the string "3", expected an integer.'
    assert found["plugins.odd.count"].hint == "A number."
    assert found["plugins.odd.names.1"].message == "found the integer 2, expected a string."
    assert found["plugins.odd.cout"].hint == "Did you mean 'count'?"
    assert (found["plugins.odd.cout"].line, found["plugins.odd.cout"].column) == (22, 1)


def test_an_unknown_plugin_is_told_even_when_switched_off(write_recipe: Write) -> None:
    found = found_in(with_tables(write_recipe, "[plugins.lorra]\nenabled = false"))
    assert found["plugins.lorra"].hint == "Did you mean 'lora'?"


def test_a_plugin_that_is_switched_off_is_not_imported(write_recipe: Write) -> None:
    path = with_tables(write_recipe, "[plugins.broken]\nenabled = false\nanything = 1")
    assert set(load_recipe(path).plugins) == {"demo"}


def test_a_plugin_that_does_not_import_is_named_at_its_table(write_recipe: Write) -> None:
    problem = found_in(with_tables(write_recipe, "[plugins.broken]"))["plugins.broken"]
    assert "'broken'" in problem.message
    assert "ModuleNotFoundError" in problem.message
    assert problem.line == 19


def test_plugins_that_exclude_each_other_are_told(write_recipe: Write) -> None:
    found = found_in(with_tables(write_recipe, "[plugins.odd]\n[plugins.lora]"))
    assert "cannot be combined with 'lora'" in found["plugins.odd"].message


def test_problems_of_plugins_get_a_place(write_recipe: Write) -> None:
    problem = found_in(with_tables(write_recipe, "[plugins.odd]\ncount = 13"))["train.steps"]
    assert problem.message == "13 is unlucky."
    assert (problem.line, problem.column) == (13, 9)


def test_a_plugin_that_returns_something_else_is_named(write_recipe: Write) -> None:
    problem = found_in(with_tables(write_recipe, "[plugins.odd]\ncount = 14"))["plugins.odd"]
    assert "returned a str from collect_problems" in problem.message


def test_a_path_option_is_relative_to_the_recipe(write_recipe: Write, tmp_path: Path) -> None:
    recipe = load_recipe(with_tables(write_recipe, '[plugins.odd]\nfile = "some/file"'))
    assert recipe.plugins["odd"]["file"] == str(tmp_path / "some" / "file")


def test_a_plugin_written_as_a_table_of_its_own_is_led_to_its_place(write_recipe: Write) -> None:
    problem = found_in(with_tables(write_recipe, "[lora]\nrank = 3"))["lora"]
    assert "[plugins.lora]" in problem.hint


@pytest.mark.parametrize("value", ["true", '"yes"'])
def test_a_plugin_is_a_table(write_recipe: Write, value: str) -> None:
    problem = found_in(with_tables(write_recipe, f"[plugins]\nlora = {value}"))["plugins.lora"]
    assert "expected a table" in problem.message

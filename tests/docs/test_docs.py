"""What the documentation shows is true: recipes check, links lead somewhere, plugins load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stoker.recipe.loading import inspect_recipe
from stoker.registry import installed_plugins, validate_hooks

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


RECIPES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "toml"))
    if block.startswith("[run]")
]


def test_there_are_recipes_in_the_documentation() -> None:
    assert RECIPES


@pytest.mark.parametrize("text", RECIPES)
def test_a_recipe_in_the_documentation_passes_check(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    _, problems = inspect_recipe(tmp_path / "recipe.toml")
    assert problems == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target


def test_the_readme_lists_every_plugin_that_is_shipped() -> None:
    table = (ROOT / "README.md").read_text().split("## Plugins")[1].split("A plugin is one class")[0]
    listed = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    shipped = {name for name, point in installed_plugins().items() if "stoker_plugins" in point.value}
    assert listed == shipped


def test_the_plugin_in_the_readme_is_a_plugin() -> None:
    (source,) = [block for block in blocks(ROOT / "README.md", "python") if "hookimpl" in block]
    names: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 - our own documentation
    plugin = names["LossPrinter"]
    validate_hooks("loss_printer", plugin)  # type: ignore[arg-type]
    assert set(plugin.Config.model_fields) == {"every"}  # type: ignore[attr-defined]


def test_the_readme_names_every_exit_code() -> None:
    from stoker.errors import ExitCode

    text = (ROOT / "README.md").read_text().split("## Exit codes")[1].split("##")[0]
    documented = {int(number) for number in re.findall(r"(?:^|· ?|\n)(\d+) ", text)}
    assert documented == {int(code) for code in ExitCode}

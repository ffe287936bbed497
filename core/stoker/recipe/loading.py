"""From a TOML file to a `Recipe`, or to every problem that keeps it from being one.

Order: read the file and what it extends, merge, apply `--set`, validate the core's tables and those
of the plugins it names, look at files and combinations, then ask the plugins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker.dispatch import Hooks
from stoker.errors import PluginError, RecipeError, StokerError
from stoker.recipe.checks import check_recipe, secret_problems
from stoker.recipe.draft import Draft, leaves, make_draft, value_problems
from stoker.recipe.layers import read_layers
from stoker.recipe.model import Recipe
from stoker.recipe.path_checks import path_problems
from stoker.recipe.paths import resolve_paths
from stoker.recipe.plugin_tables import PluginClass, load_plugin_classes, option_problems, switched_on
from stoker.recipe.problems import Problem
from stoker.recipe.schema import RecipeTables
from stoker.recipe.validation import validate_tables
from stoker.registry import installed_plugins, make_plugins


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe. `overrides` are `KEY=VALUE` texts, as `--set` takes them.

    Raises `RecipeError` with all problems; warnings alone raise nothing.
    """
    recipe, problems = inspect_recipe(path, overrides)
    if recipe is None:
        raise RecipeError([problem for problem in problems if problem.severity == "error"])
    return recipe


def inspect_recipe(path: Path, overrides: Sequence[str] = ()) -> tuple[Recipe | None, list[Problem]]:
    """The recipe, if it has no errors, and all problems, warnings included, in file order.

    Raises nothing for mistakes in the recipe.
    """
    try:
        draft = make_draft(read_layers(path), overrides)
        recipe, problems = _inspect_draft(draft)
    except RecipeError as error:
        return None, error.problems
    except PluginError as error:
        # Two installed plugins of one name: no fault of a line in the recipe.
        return None, [Problem(key="plugins", message=error.message, hint=error.hint, file=str(path))]
    if any(problem.severity == "error" for problem in problems):
        recipe = None
    return recipe, _in_file_order(problems)


def _inspect_draft(draft: Draft) -> tuple[Recipe | None, list[Problem]]:
    problems = [*draft.problems, *value_problems(draft)]
    problems += _placed(draft, secret_problems(draft.tables))
    classes, plugin_problems = load_plugin_classes(draft)
    resolve_paths(draft, classes)
    tables, table_problems = validate_tables(RecipeTables, draft.tables, draft.problem)
    # What is said about a plugin's table as a whole knows more than its type.
    problems += _new(problems, plugin_problems)
    problems += _new(problems, _completed(draft, table_problems))
    problems += _new(problems, option_problems(draft, classes))
    problems += _new(problems, _placed(draft, path_problems(draft.tables, switched_on(draft))))
    if tables is None:
        return None, problems
    recipe = _make_recipe(draft, tables)
    problems += _new(problems, _placed(draft, check_recipe(recipe)))
    if not any(problem.severity == "error" for problem in problems):
        problems += _placed(draft, _ask_plugins(recipe, classes))
    return recipe, problems


def _make_recipe(draft: Draft, tables: RecipeTables) -> Recipe:
    origins = {key: draft.origin(key) for key, _ in leaves(tables.model_dump(mode="json"))}
    return Recipe(tables=tables, path=draft.recipe.path, text=draft.recipe.text, origins=origins)


def _completed(draft: Draft, problems: Sequence[Problem]) -> list[Problem]:
    """Say what the validator cannot: it skips rules about a whole table once a key of it is wrong."""
    completed = [_about_plugin(problem) for problem in problems]
    train = draft.tables.get("train")
    known = any(problem.key == "train" for problem in problems)
    if isinstance(train, Mapping) and not known and ("epochs" in train) == ("steps" in train):
        message = "needs exactly one of 'epochs' and 'steps'."
        completed.append(draft.problem("train", message))
    return completed


def _about_plugin(problem: Problem) -> Problem:
    """`[lora]` instead of `[plugins.lora]` deserves a better hint than a similar name."""
    name = problem.key
    if name in installed_plugins() and "has no table" in problem.message:
        return replace(problem, hint=f"Plugins have their tables under plugins: [plugins.{name}].")
    return problem


def _ask_plugins(recipe: Recipe, classes: Mapping[str, PluginClass]) -> list[Problem]:
    """Problems that only the plugins themselves can see."""
    if not any(hasattr(plugin_class, "collect_problems") for plugin_class in classes.values()):
        return []
    try:
        found = Hooks(make_plugins(recipe.plugins)).collect("collect_problems", recipe=recipe)
    except StokerError as error:
        return [Problem(key="plugins", message=error.message, hint=error.hint)]
    return [problem for name, problems in found for problem in _checked(name, problems)]


def _checked(name: str, problems: Any) -> list[Problem]:
    if not isinstance(problems, Iterable) or isinstance(problems, (str, Mapping)):
        problems = [problems]
    found = list(problems)
    if wrong := [problem for problem in found if not isinstance(problem, Problem)]:
        message = f"plugin {name!r} returned a {type(wrong[0]).__name__} from collect_problems."
        hint = "The hook returns a list of stoker.recipe.problems.Problem."
        return [Problem(key=f"plugins.{name}", message=message, hint=hint)]
    return found


def _placed(draft: Draft, problems: Iterable[Problem]) -> list[Problem]:
    """Add file, line and column where they are not stated."""
    placed = []
    for problem in problems:
        if not problem.file:
            place = draft.problem(problem.key, "")
            problem = replace(problem, file=place.file, line=place.line, column=place.column)
        placed.append(problem)
    return placed


def _new(known: Sequence[Problem], problems: Sequence[Problem]) -> list[Problem]:
    """Problems at keys about which nothing has been said yet: one mistake is told once."""
    keys = {problem.key for problem in known if problem.key}
    return [problem for problem in problems if problem.key not in keys]


def _in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))

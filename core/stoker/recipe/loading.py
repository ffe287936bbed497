"""From a TOML file to a `Recipe`, or to every problem that keeps it from being one.

Order: read the file and what it extends, merge, apply `--set`, put in the values of environment
variables, validate the core's tables and those of the plugins it names, look at files and combinations,
then ask the plugins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from stoker.dispatch import Hooks
from stoker.errors import PluginError, RecipeError, StokerError
from stoker.recipe.chat_template import insert_template
from stoker.recipe.checks import check_recipe, secret_problems
from stoker.recipe.draft import Draft, leaves, make_draft, value_problems
from stoker.recipe.environment import (
    conceal_problems,
    find_references,
    put,
    unusable,
    values_behind,
    with_values,
    without,
)
from stoker.recipe.fixes import length_fix, name_fix, with_usable_fixes
from stoker.recipe.layers import read_layers
from stoker.recipe.model import Recipe
from stoker.recipe.model_checks import model_problems
from stoker.recipe.path_checks import path_problems
from stoker.recipe.paths import resolve_paths
from stoker.recipe.plugin_defaults import complete_options
from stoker.recipe.plugin_tables import (
    PluginClass,
    load_plugin_classes,
    switched_on,
    validate_options,
)
from stoker.recipe.problems import Fix, Problem
from stoker.recipe.schema import RecipeTables
from stoker.recipe.validation import validate_tables
from stoker.registry import configure_plugin, installed_plugins, order_plugins

if TYPE_CHECKING:
    from stoker.plugin import Plugin
    from stoker.recipe.data_checks import DataInspector

Severity = Literal["error", "warning"]


def load_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    inspector: DataInspector | None = None,
    *,
    allow_unset: bool = False,
    text: str | None = None,
) -> Recipe:
    """Read and validate a recipe. `overrides` are `KEY=VALUE` texts, as `--set` takes them.

    `inspector` looks into data files, `text` stands for what is in the file. Raises `RecipeError` with
    all problems; warnings alone raise nothing. That an environment variable is not set is an error
    unless `allow_unset`: then its value is not known, and must not be used.
    """
    unset: Severity = "warning" if allow_unset else "error"
    recipe, problems = inspect_recipe(path, overrides, inspector, unset=unset, text=text)
    if recipe is None:
        raise RecipeError(_errors(problems))
    return recipe


def inspect_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    inspector: DataInspector | None = None,
    *,
    unset: Severity = "warning",
    text: str | None = None,
) -> tuple[Recipe | None, list[Problem]]:
    """The recipe, if it has no errors, and all problems, warnings included, in file order.

    `inspector` looks into data files. `unset` is how bad it is if an environment variable is not set.
    `text` stands for what is in the file, which need not be there: a recipe that is not saved yet.
    Raises nothing for mistakes in the recipe.
    """
    try:
        draft = make_draft(read_layers(path, text), overrides)
        recipe, problems = _inspect_draft(draft, inspector, unset)
    except RecipeError as error:
        return None, error.problems
    except PluginError as error:
        # Two installed plugins of one name: no fault of a line in the recipe.
        return None, [Problem(key="plugins", message=error.message, hint=error.hint, file=str(path))]
    if _errors(problems):
        recipe = None
    values = values_behind(draft.tables, draft.references)
    problems = conceal_problems(problems, values, draft.references)
    problems = with_usable_fixes(problems, draft, values)
    return recipe, _in_file_order(problems)


def _inspect_draft(
    draft: Draft, inspector: DataInspector | None, unset: Severity
) -> tuple[Recipe | None, list[Problem]]:
    problems = [*draft.problems, *value_problems(draft)]
    problems += _placed(draft, secret_problems(draft.tables))
    classes, plugin_problems = load_plugin_classes(draft)
    # What is said about a plugin's table as a whole knows more than its type.
    problems += _new(problems, plugin_problems)
    unset_problems = _insert_values(draft, unset)
    resolve_paths(draft.tables, classes, draft.folder_of)
    problems += _placed(draft, insert_template(draft.tables, draft.folder_of))
    tables, table_problems = _validate_core(draft)
    problems += _new(problems, _completed(draft, _errors(table_problems)))
    configs, option_problems = validate_options(draft, classes)
    problems += _new(problems, _errors(option_problems))
    # Below, nothing is said about values that are not known.
    problems += _new(problems, unset_problems)
    known = without(draft.tables, draft.unset)
    problems += _new(problems, _placed(draft, path_problems(known, switched_on(draft))))
    problems += _new(problems, _placed(draft, model_problems(known)))
    if inspector is not None:
        problems += _new(problems, _placed(draft, inspector.problems(known)))
    if tables is None:
        return None, problems
    recipe = _make_recipe(draft, tables, configs)
    problems += _new(problems, _placed(draft, check_recipe(recipe)))
    if not _errors(problems):
        problems += _placed(draft, _ask_plugins(draft, recipe, classes))
    return recipe, problems


def _insert_values(draft: Draft, severity: Severity) -> list[Problem]:
    """Put in the values of environment variables, and say which are not set."""
    draft.references = find_references(draft.tables)
    draft.tables = with_values(draft.tables, draft.references)
    complaints = unusable(draft.references)
    draft.unset = set(complaints)
    hint = "Set it where the run is started."
    problems = (draft.problem(key, complaint, hint) for key, complaint in complaints.items())
    return [replace(problem, severity=severity) for problem in problems]


def _validate_core(draft: Draft) -> tuple[RecipeTables | None, list[Problem]]:
    """The core's tables. What stands in them for a value that is not known may not be used."""
    tables, problems = validate_tables(RecipeTables, draft.tables, draft)
    unknown = {problem.key for problem in problems if problem.severity == "warning"}
    if tables is None and not _errors(problems):
        # Where the text `env:NAME` will not do: the default, or a name that names no run.
        name = dict.fromkeys(unknown & {"run.name"}, "unset")
        kept = put(without(draft.tables, unknown - name.keys()), name)
        tables, _ = validate_tables(RecipeTables, kept, draft)
    return tables, problems


def _errors(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


def _make_recipe(draft: Draft, tables: RecipeTables, configs: Mapping[str, BaseModel]) -> Recipe:
    values = values_behind(draft.tables, draft.references)
    completed = {
        name: complete_options(table, configs[name], values) if name in configs else table
        for name, table in tables.plugins.items()
    }
    tables = tables.model_copy(update={"plugins": completed})
    origins = {key: draft.origin(key) for key, _ in leaves(tables.model_dump(mode="json"))}
    return Recipe(
        tables=tables,
        path=draft.recipe.path,
        text=draft.recipe.text,
        origins=origins,
        references=draft.references,
    )


def _completed(draft: Draft, problems: Sequence[Problem]) -> list[Problem]:
    """Say what the validator cannot: it skips rules about a whole table once a key of it is wrong."""
    completed = [_with_name(draft, _about_plugin(draft, problem)) for problem in problems]
    train = draft.tables.get("train")
    if not isinstance(train, Mapping) or ("epochs" in train) != ("steps" in train):
        return completed
    fix = length_fix(train)
    if not any(problem.key == "train" for problem in problems):
        message = "needs exactly one of 'epochs' and 'steps'."
        return [*completed, draft.problem("train", message, fix=fix)]
    return [replace(each, fix=fix) if each.key == "train" else each for each in completed]


def _about_plugin(draft: Draft, problem: Problem) -> Problem:
    """`[lora]` instead of `[plugins.lora]` deserves a better hint than a similar name."""
    name, plugins = problem.key, draft.tables.get("plugins", {})
    if name in installed_plugins() and "has no table" in problem.message:
        is_there = not isinstance(plugins, Mapping) or name in plugins
        fix = problem.fix if is_there else Fix(action="rename", key=name, to=f"plugins.{name}")
        hint = f"Plugins have their tables under plugins: [plugins.{name}]."
        return replace(problem, hint=hint, fix=fix)
    return problem


def _with_name(draft: Draft, problem: Problem) -> Problem:
    """A run without a name may have that of its file."""
    if problem.key in ("run", "run.name") and problem.fix is None:
        return replace(problem, fix=name_fix(draft, problem.key))
    return problem


def _ask_plugins(draft: Draft, recipe: Recipe, classes: Mapping[str, PluginClass]) -> list[Problem]:
    """Problems that only the plugins themselves see. One whose values are not known is not asked."""
    if not any(hasattr(plugin_class, "collect_problems") for plugin_class in classes.values()):
        return []
    unknown = {key.split(".")[1] for key in draft.unset if key.startswith("plugins.")}
    try:
        plugins = {
            name: configure_plugin(name, classes[name], recipe.plugins[name])
            for name in order_plugins(classes)
            if name not in unknown
        }
        problems = _problems_of_plugins(recipe, plugins)
    except StokerError as error:
        return [Problem(key="plugins", message=error.message, hint=error.hint)]
    return [problem for problem in problems if problem.key not in draft.unset]


def require_sound(recipe: Recipe, plugins: Mapping[str, Plugin[Any]]) -> None:
    """What `check` says of combinations, for a recipe that comes from no file: raises `RecipeError`."""
    problems = _errors(check_recipe(recipe))
    if problems := problems or _errors(_problems_of_plugins(recipe, plugins)):
        raise RecipeError(problems)


def _problems_of_plugins(recipe: Recipe, plugins: Mapping[str, Plugin[Any]]) -> list[Problem]:
    found = Hooks(plugins).collect("collect_problems", recipe=recipe)
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

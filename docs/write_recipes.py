"""Writes docs/recipes.md from the descriptions in the code: `python docs/write_recipes.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker.recipe.json_schema import Schema, recipe_schema, schema_at
from stoker.recipe.words import one_of, schema_words, toml_text
from stoker.registry import installed_plugins, load_plugin_class

PAGE = Path(__file__).with_name("recipes.md")
SHIPPED = "stoker_plugins."
INTRODUCTION = """\
<!-- Written by docs/write_recipes.py from the descriptions in the code; change those. -->

# Recipes

A recipe is a TOML file that says all of what a run does. Whatever it states that stoker does not know is
an error: `stoker check` names file, line and column, what was found, what was expected and the nearest
spelling, and tells all problems at once.

```toml
[run]
name = "my-first"

[model]
path = "demo:smollm2-135m"

[data]
train = [{ path = "demo:docstrings" }]

[train]
steps = 100
learning_rate = 1e-3

[plugins.demo]

[plugins.lora]
rank = 8
```

* `extends = "base.toml"`, above the first table, builds on another recipe. Tables are merged, arrays and
  values replaced; `train.steps` replaces `train.epochs` and the other way round.
* `--set train.steps=10` changes a value. Items of arrays count from 0: `--set data.train.0.weight=2`.
* Paths are relative to the file that states them, those given with `--set` to where stoker is called.
* A string that is `env:NAME` and nothing else stands for the value of an environment variable, which is
  a string; numbers are given with `--set`. Files and messages say `env:NAME`; only what `run.name` and
  `run.directory` name is seen, and in messages of a running job values of less than eight characters.
  Where the variable is not set, `stoker check` warns and no run starts. A relative path from a variable
  is relative to where stoker is called.
* `[plugins.NAME]` switches a plugin on, `enabled = false` in it off again.
* `stoker explain RECIPE KEY` says what a key is set to, where that is stated, and what it means.
* `stoker schema -o stoker.schema.json` lets editors check and complete keys, those of installed plugins
  included, in a recipe that begins with `#:schema ./stoker.schema.json`.
"""
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "{} or more items",
    "minLength": "{} or more characters",
    "pattern": "matches `{}`",
}


def page() -> str:
    """The whole page."""
    classes = {
        name: load_plugin_class(name)
        for name, point in installed_plugins().items()
        if point.value.startswith(SHIPPED)
    }
    schema = recipe_schema({name: each.Config.model_json_schema() for name, each in classes.items()})
    parts = [INTRODUCTION]
    for name in schema["properties"]:
        if name not in ("extends", "plugins"):
            parts += core_sections(schema, name)
    for name, plugin_class in classes.items():
        about = inspect.getdoc(plugin_class) or ""
        parts.append(section(schema, f"plugins.{name}", f"[plugins.{name}]", about))
        parts += tables_inside(schema, f"plugins.{name}")
    return "\n".join(parts)


def core_sections(schema: Schema, name: str) -> Iterator[str]:
    """A core table, then the arrays of tables in it that are alike."""
    table = schema_at(schema, name) or {}
    yield section(schema, name, f"[{name}]", about(table))
    alike: dict[str, list[str]] = {}
    for key, option in table["properties"].items():
        if reference := option.get("items", {}).get("$ref"):
            alike.setdefault(reference, []).append(f"{name}.{key}")
    for keys in alike.values():
        yield section(schema, f"{keys[0]}.0", f"Rows of {' and '.join(keys)}")


def tables_inside(schema: Schema, key: str) -> Iterator[str]:
    """The tables in a plugin's table."""
    for name, option in (schema_at(schema, key) or {})["properties"].items():
        if "$ref" in option:
            yield section(schema, f"{key}.{name}", f"[{key}.{name}]", option.get("description", ""))


def about(table: Schema) -> str:
    """A table's docstring without its name, which is the heading."""
    text = str(table.get("description", "")).rpartition("`: ")[2]
    return f"{text[:1].upper()}{text[1:]}"


def section(schema: Schema, key: str, heading: str, text: str = "") -> str:
    """A heading, a text, and a row for each key."""
    table = schema_at(schema, key) or {}
    needed = required(schema, key, table)
    lines = [f"## {heading}", "", *([text, ""] if text else [])]
    lines += ["| key | type | default | |", "|---|---|---|---|"]
    for name, option in table["properties"].items():
        described = schema_at(schema, f"{key}.{name}") or option
        cells = (f"`{name}`", type_text(schema, described), default(described, name in needed))
        lines.append(f"| {' | '.join(map(cell, (*cells, described.get('description', ''))))} |")
    return "\n".join(lines) + "\n"


def required(schema: Schema, key: str, table: Schema) -> list[str]:
    """Keys without which the table is wrong."""
    place: Mapping[str, Any] = schema["else"]
    for part in key.split("."):
        place = place.get("properties", {}).get(part, {})
    # What a plugin needs, it needs unless it is switched off.
    demanded = place.get("else", place).get("required", [])
    return [*table.get("required", []), *demanded]


def type_text(schema: Schema, option: Schema) -> str:
    """`integer, at least 1`; the kinds that a value may be of, each with its limits."""
    kinds = option.get("anyOf", [option])
    return one_of(", ".join([schema_words(kind, schema["$defs"]), *limits(kind)]) for kind in kinds)


def limits(kind: Schema) -> Iterator[str]:
    for name, words in LIMITS.items():
        if name in kind:
            yield words.format(kind[name])


def default(option: Schema, is_required: bool) -> str:
    if is_required:
        return "required"
    if "default" not in option:
        return "not set"
    text = toml_text(option["default"])
    # Code that holds backticks stands between two of them.
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def cell(text: str) -> str:
    """Text that ends no cell of a Markdown table."""
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

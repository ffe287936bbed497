"""Templates of recipes: the core's own, and those in the folder `templates` of a plugin's package.

A template is a recipe that `stoker check` accepts as it is. The first line of its first comment is its
summary. It has the tables [run], [model] and [data], into which `stoker new` puts what a user states.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import PluginError, UsageError
from stoker.locate import locate
from stoker.recipe.problems import did_you_mean
from stoker.registry import installed_plugins

OWN_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Template:
    """A recipe to begin with."""

    path: Path
    plugin: str | None = None
    """The plugin that brings it; None for the core's own."""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def origin(self) -> str:
        """Who brings it, in words."""
        return f"of plugin {self.plugin!r}" if self.plugin else "of stoker itself"

    @property
    def summary(self) -> str:
        """The first line of its first comment, which tells no editor where a schema is."""
        lines = map(str.strip, self.read().splitlines())
        return next((line.lstrip("# ") for line in lines if re.match("#+[^#:]", line)), "")

    def read(self) -> str:
        """Its text. Raises `PluginError` for what is no readable text."""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PluginError(
                f"template {self.name!r} {self.origin} cannot be read: {error}.",
                hint=f"Look at {self.path}.",
            ) from error


def find_templates() -> dict[str, Template]:
    """All templates by name; no plugin is imported.

    Raises `PluginError` if two have the same name.
    """
    found: dict[str, Template] = {}
    for template in _all_templates():
        other = found.setdefault(template.name, template)
        # Plugins that share a package share its templates.
        if other.path != template.path:
            raise PluginError(
                f"two templates are called {template.name!r}: one {other.origin} ({other.path}) and "
                f"one {template.origin} ({template.path}).",
                hint="Uninstall one of the plugins.",
            )
    return dict(sorted(found.items()))


def find_template(name: str) -> Template:
    """Raises `UsageError` with the nearest spelling for a name that no template has."""
    templates = find_templates()
    if name not in templates:
        hint = did_you_mean(name.lower(), templates) or f"There are {', '.join(templates)}."
        raise UsageError(f"no template is called {name!r}.", hint=hint)
    return templates[name]


def _all_templates() -> Iterator[Template]:
    yield from (Template(path) for path in sorted(OWN_TEMPLATES.glob("*.toml")))
    for plugin, point in installed_plugins().items():
        if folder := locate(point.module).package:
            paths = sorted((folder / "templates").glob("*.toml"))
            yield from (Template(path, plugin) for path in paths)

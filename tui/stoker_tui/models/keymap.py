"""The user's own keys: ids of bindings and what they are bound to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tomli

from stoker.recipe.problems import did_you_mean


@dataclass(frozen=True)
class Keymap:
    """Keys by id of the binding, several of them parted by commas; and what was wrong with the file."""

    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_keymap(path: Path, known: Collection[str]) -> Keymap:
    """The keymap of a file. A damaged file and unknown ids are problems, and change nothing."""
    try:
        stated = dict(_flattened(tomli.loads(path.read_text("utf-8"))))
    except FileNotFoundError:
        return Keymap()
    except (OSError, ValueError) as error:
        return Keymap(problems=(f"{path.name} is ignored: {error}",))
    keys: dict[str, str] = {}
    problems = []
    for name, key in stated.items():
        if name not in known:
            problems.append(
                f"{path.name}: no binding {name!r}. {did_you_mean(name, sorted(known))}".strip()
            )
        elif not isinstance(key, str) or not key:
            problems.append(f"{path.name}: {name} must be a key, such as 'x' or 'ctrl+x'.")
        else:
            keys[name] = key
    return Keymap(keys, tuple(problems))


def _flattened(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """`watch.zoom = "z"` and `"watch.zoom" = "z"` say the same."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{before}{key}.")
        else:
            yield before + key, value

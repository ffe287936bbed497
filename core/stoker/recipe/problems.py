"""A problem in a recipe: where it is, what was found, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from stoker.recipe.words import shorten, toml_text

_LONGEST_KEY = 70


@dataclass(frozen=True, kw_only=True)
class Fix:
    """One change of a recipe's text after which a problem is gone."""

    action: Literal["set", "unset", "rename", "switch_on", "switch_off"]
    """`switch_on` and `switch_off` are about a plugin."""
    key: str
    """Dotted; `plugins.NAME` of a plugin."""
    value: Any = None
    """Of `set`: what TOML can write."""
    to: str = ""
    """Of `rename`: the new dotted key, which may be in another table."""

    @property
    def title(self) -> str:
        """What is done, in words: `set train.micro_batch_size = 8`."""
        if self.action == "set":
            return f"set {self.key} = {shorten(toml_text(self.value))}"
        if self.action == "rename":
            return f"rename {self.key} to {self.to}"
        words = {"unset": "remove", "switch_on": "switch on", "switch_off": "switch off"}
        return f"{words[self.action]} {self.key}"

    def as_dict(self) -> dict[str, Any]:
        """The shape of `fix` in `check --json`."""
        shape: dict[str, Any] = {"action": self.action, "key": self.key, "title": printable(self.title)}
        if self.action == "set":
            shape["value"] = self.value
        if self.action == "rename":
            shape["to"] = self.to
        return shape


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding about a recipe. Lines and columns count from 1; 0 means not known."""

    key: str
    """Dotted key, for example `train.learning_rate`; empty for the file as a whole."""
    message: str
    """What was found and what was expected, in TOML's words (table, string, integer)."""
    hint: str = ""
    """What to do, one sentence."""
    file: str = ""
    line: int = 0
    column: int = 0
    severity: Literal["error", "warning"] = "error"
    fix: Fix | None = None
    """What would mend it, where one change does."""

    def as_dict(self) -> dict[str, Any]:
        """The shape of `check --json`."""
        return {**asdict(self), "fix": self.fix.as_dict() if self.fix else None}

    def render(self) -> str:
        """One paragraph for people: `file:line:column: key: message hint`."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        parts = [place, _shown_key(self.key), self.message]
        text = ": ".join(part for part in parts if part)
        return printable(f"{text} {self.hint}".strip())


def printable(text: str) -> str:
    """With escapes for what would steer a terminal or not be seen; line ends are kept."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _shown_key(key: str) -> str:
    key = key.replace("\n", "\\n")
    return key if len(key) <= _LONGEST_KEY else f"{key[: _LONGEST_KEY - 3]}..."


def nearest(found: str, choices: Iterable[str]) -> str | None:
    """The choice with the nearest spelling; None where none is near."""
    near = difflib.get_close_matches(found, list(choices), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(found: str, choices: Iterable[str]) -> str:
    """`Did you mean 'x'?` for the nearest spelling, or an empty string."""
    near = nearest(found, choices)
    return f"Did you mean {near!r}?" if near else ""

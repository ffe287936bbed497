"""A recipe while it is written: its text, edited a key at a time, with undo and a careful save."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli

from stoker.errors import UsageError
from stoker.recipe.draft import ENABLED, Draft
from stoker_tui.models.compose import plain, toml_edit, toml_rows
from stoker_tui.models.compose.effective import Stated, read_draft, rows_of_base, stated
from stoker_tui.models.compose.files import read_file
from stoker_tui.models.compose.saved_text import SavedText

_ROW = re.compile(r"(.+?)\.([0-9]+)(?:\.|$)")
_ALTERNATIVES = {"train.epochs": "train.steps", "train.steps": "train.epochs"}
"""Stating one takes the other back, as it does between a recipe and its base."""


class EditError(UsageError):
    """What was asked for cannot be written into the text as it is."""


class Document(SavedText):
    """A recipe's text. `path` is None until it has a name."""

    def __init__(
        self,
        text: str = "",
        path: Path | None = None,
        *,
        overrides: Sequence[str] = (),
        source: str = "",
    ) -> None:
        """`overrides` are `KEY=VALUE` as `--set` takes them; `source` says what it was made from."""
        super().__init__(text, path)
        self.source = source
        self.overrides = tuple(overrides)
        self._draft: tuple[int, Draft | None] | None = None

    @classmethod
    def open(cls, path: Path, overrides: Sequence[str] = ()) -> Document:
        """Read a recipe. Raises `UsageError` for what is no readable text."""
        return cls(read_file(path), path, overrides=overrides)

    # What it says

    @property
    def syntax_error(self) -> tomli.TOMLDecodeError | None:
        """What keeps the text from being TOML; it can be edited as text only until that is mended."""
        try:
            tomli.loads(self.text)
        except tomli.TOMLDecodeError as error:
            return error
        return None

    @property
    def tables(self) -> dict[str, Any]:
        """What the text states, without its base and defaults; empty while it is no TOML."""
        try:
            return tomli.loads(self.text)
        except tomli.TOMLDecodeError:
            return {}

    @property
    def draft(self) -> Draft | None:
        """With the recipes it extends and the overrides; None while that cannot be read."""
        if self._draft is None or self._draft[0] != self.revision:
            self._draft = self.revision, read_draft(self.text, self.path, self.overrides)
        return self._draft[1]

    def stated(self, key: str) -> Stated:
        """The value of a dotted key, and where it comes from."""
        return stated(self.draft, key)

    def is_on(self, plugin: str) -> bool:
        """Whether a plugin is switched on, here or in a base."""
        table = self.stated(f"plugins.{plugin}").value
        return isinstance(table, Mapping) and table.get(ENABLED, True) is not False

    # Edits: each is one step of undo, and raises `EditError` where it cannot be done.

    def set(self, key: str, value: Any, written: str = "") -> None:
        """State a value. `written` is how the author spelt it, `2e-4`; used where it means `value`.

        In a row of an array that a base recipe states, all of its rows become this recipe's own.
        """
        if array := _ROW.match(key):
            self._in_rows(array[1], f"set {key}", lambda: self._set(key, value, written), int(array[2]))
        else:
            self._set(key, value, written)

    def _set(self, key: str, value: Any, written: str) -> None:
        path, other = _path(key), _ALTERNATIVES.get(key)
        spelling = written if plain.means(written, value) else ""

        def edit(text: str) -> str:
            if other and plain.at(tomli.loads(text), _path(other)) is not None:
                if plain.at(tomli.loads(text), path) is None:
                    text = toml_edit.rename(text, _path(other), path)
                else:
                    text = toml_edit.unset(text, _path(other))
            return toml_edit.set_value(text, path, value, spelling)

        def expected(data: dict[str, Any]) -> dict[str, Any]:
            rest: dict[str, Any] = plain.without(data, _path(other)) if other else data
            stated: dict[str, Any] = plain.with_value(rest, path, value)
            return stated

        self._edit(f"set {key}", edit, expected)

    def unset(self, key: str) -> None:
        """Take out a key, an item of an array, or a table with all that is in it."""
        path = _path(key)
        self._edit(
            f"remove {key}",
            lambda text: toml_edit.unset(text, path),
            lambda data: plain.without(data, path),
        )

    def rename(self, key: str, to: str) -> None:
        """Give a key or a table another name, or move it into another table."""
        old, new = _path(key), _path(to)
        self._edit(
            f"rename {key} to {to}",
            lambda text: toml_edit.rename(text, old, new),
            lambda data: plain.with_value(plain.without(data, old), new, plain.at(data, old)),
        )

    def add_row(self, key: str, row: Mapping[str, Any]) -> None:
        """Add a table at the end of an array of tables, such as `data.train`."""
        self._in_rows(key, f"add a row to {key}", lambda: self._add_row(key, row))

    def _add_row(self, key: str, row: Mapping[str, Any]) -> None:
        path = _path(key)
        self._edit(
            f"add a row to {key}",
            lambda text: toml_rows.add_row(text, path, row),
            lambda data: plain.with_value(data, path, [*(plain.at(data, path) or []), dict(row)]),
        )

    def remove_row(self, key: str, number: int) -> None:
        """Take out row `number`, counted from 0."""
        self._in_rows(key, f"remove a row of {key}", lambda: self.unset(f"{key}.{number}"), number)

    def move_row(self, key: str, number: int, to: int) -> None:
        """Move row `number` to the place `to`; both counted from 0."""
        most = max(number, to)
        self._in_rows(key, f"move a row of {key}", lambda: self._move_row(key, number, to), most)

    def _move_row(self, key: str, number: int, to: int) -> None:
        path = _path(key)
        rows = plain.at(self.tables, path)

        def edit(text: str) -> str:
            step = 1 if to > number else -1
            for place in range(number, to, step):
                text = toml_rows.swap_rows(text, path, min(place, place + step))
            return text

        moved = list(rows) if isinstance(rows, list) else []
        moved.insert(to, moved.pop(number))
        self._edit(f"move a row of {key}", edit, lambda data: plain.with_value(data, path, moved))

    def switch_plugin(self, name: str, on: bool) -> None:
        """Switch a plugin on or off.

        Off keeps the options of its table under `enabled = false`, and takes an empty table out.
        """
        if on == self.is_on(name):
            return
        key = f"plugins.{name}"
        own = plain.at(self.tables, _path(key))
        inherited = self._inherited(key)
        if on:
            self._switch_on(key, own, inherited)
        elif own == {} or (own == {ENABLED: True} and not inherited):
            self._remove_table(key, inherited)
        else:
            self.set(f"{key}.{ENABLED}", False)

    def apply(self, fix: Mapping[str, Any]) -> None:
        """Do what the `fix` of a problem says, in the shape of `check --json`; one step of undo."""
        self.apply_all([fix], str(fix.get("title", "apply a fix")))

    def apply_all(self, fixes: Sequence[Mapping[str, Any]], words: str) -> None:
        """Do all of them as one step of undo, or none."""
        before = self._state()
        try:
            for fix in fixes:
                self._apply(fix)
        except EditError:
            self._restore(before)
            raise
        self._merge(before, words)

    # How

    def _edit(
        self,
        words: str,
        edit: Callable[[str], str],
        expected: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        """Change the text, once it is sure that the new one says what is expected and nothing else."""
        if (error := self.syntax_error) is not None:
            raise EditError(f"the text is not valid TOML: {error}.", hint="Mend it as text first.")
        try:
            text = edit(self.text)
            is_right = plain.same(tomli.loads(text), expected(tomli.loads(self.text)))
        except (ValueError, LookupError, tomli.TOMLDecodeError) as failure:
            raise EditError(f"cannot {words}: {failure}", hint="Edit the text itself.") from failure
        if not is_right:
            raise EditError(f"cannot {words} in the text as it stands.", hint="Edit the text itself.")
        self.edit_text(text, words)

    def _in_rows(
        self, key: str, words: str, edit: Callable[[], None], number: int | None = None
    ) -> None:
        """Edit an array whose rows may be a base recipe's; an array replaces the one below it."""
        rows = self.stated(key).value
        if number is not None and (not isinstance(rows, list) or not 0 <= number < len(rows)):
            raise EditError(f"{key} has no row {number}, counted from 0.")
        before = self._state()
        try:
            if rows and self.draft is not None and plain.at(self.tables, _path(key)) is None:
                self._set(key, rows_of_base(self.draft, key), "")
            edit()
        except EditError:
            self._restore(before)
            raise
        self._merge(before, words)

    def _apply(self, fix: Mapping[str, Any]) -> None:
        action, key = fix["action"], str(fix["key"])
        if action == "set":
            self.set(key, fix["value"])
        elif action == "unset":
            self.unset(key)
        elif action == "rename":
            self.rename(key, str(fix["to"]))
        else:
            self.switch_plugin(key.removeprefix("plugins."), action == "switch_on")

    def _inherited(self, key: str) -> Any:
        """What the recipes below this one say of a key."""
        draft = self.draft
        layers = draft.layers[:-1] if draft else ()
        found = (plain.at(layer.tables, _path(key)) for layer in reversed(layers))
        return next((value for value in found if value is not None), None)

    def _switch_on(self, key: str, own: Any, inherited: Any) -> None:
        path = _path(key)
        is_off_below = isinstance(inherited, Mapping) and inherited.get(ENABLED) is False
        if is_off_below:
            self.set(f"{key}.{ENABLED}", True)
        elif isinstance(own, Mapping):
            self.unset(f"{key}.{ENABLED}")
            if plain.at(self.tables, path) is None:
                # It was stated by that key alone, with dots.
                self._add_table(path)
        else:
            self._add_table(path)

    def _add_table(self, path: tuple[str, ...]) -> None:
        self._edit(
            f"switch on {path[-1]}",
            lambda text: toml_edit.add_table(text, path),
            lambda data: plain.with_value(data, path, {}),
        )

    def _remove_table(self, key: str, inherited: Any) -> None:
        if inherited is not None:
            self.set(f"{key}.{ENABLED}", False)
        else:
            self.unset(key)


def _path(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))

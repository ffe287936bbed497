"""What leaves the form: the file, and the editor that takes the text over for a while."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import SuspendNotSupported
from textual.binding import BindingType

from stoker.errors import StokerError
from stoker_tui.keys import bind
from stoker_tui.models.open_recipe import OpenRecipe
from stoker_tui.screens.asking import AskScreen
from stoker_tui.screens.compose.mending import Mending
from stoker_tui.screens.confirm import ConfirmScreen


class Saving(Mending):
    """Keys for the text as a whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "w,ctrl+s", "save", "Save", "Save the recipe; asks for a name where it has none.",
            id="compose.save", changes=True,
        ),
        bind(
            "W", "save_as", "Save as", "Save under another name.",
            id="compose.save_as", changes=True, show=False,
        ),
        bind(
            "e", "editor", "$EDITOR", "Edit the text in $EDITOR, then take it in.",
            id="compose.editor", twin="$EDITOR RECIPE", show=False,
        ),
    ]  # fmt: skip

    def action_save(self) -> None:
        """Save it, under a new name where it has none."""
        self.save_then(self._say_saved)

    def action_save_as(self) -> None:
        """Ask for another name."""
        if self.recipe is not None:
            self._ask_name(self.recipe, self._say_saved)

    def save_then(self, then: Callable[[], None]) -> None:
        """Save it, ask what must be asked, and go on once it is on disk."""
        recipe = self.recipe
        if recipe is None:
            return
        path = recipe.document.path
        if path is None:
            self._ask_name(recipe, then)
        elif recipe.document.is_modified or not path.exists():
            self._write(recipe, path, then)
        else:
            then()

    def _ask_name(self, recipe: OpenRecipe, then: Callable[[], None]) -> None:
        def take(name: str | None) -> None:
            if name is not None:
                self._write(recipe, Path(name.strip()).expanduser(), then)

        suggested = str(recipe.document.path or f"{_run_name(recipe)}.toml")
        note = "Data files and bases are looked for in its folder."
        ask = AskScreen("Save the recipe as", value=suggested, note=note, refuse=_refuse_name)
        self.app.push_screen(ask, take)

    def _write(
        self, recipe: OpenRecipe, path: Path, then: Callable[[], None], *, replace: bool = False
    ) -> None:
        is_taken = path.exists() if path != recipe.document.path else recipe.document.is_changed_on_disk
        if is_taken and not replace:
            what = "exists already" if path != recipe.document.path else "was changed by somebody else"

            def answered(yes: bool | None) -> None:
                if yes:
                    self._write(recipe, path, then, replace=True)

            self.app.push_screen(ConfirmScreen(f"{path} {what}.", ["Replace it?"]), answered)
            return
        try:
            recipe.document.save(path, replace=replace)
        except StokerError as error:
            self.say(error)
            return
        self.changed()
        then()

    def _say_saved(self) -> None:
        path = self.recipe.document.path if self.recipe is not None else None
        self.notify(f"saved {path}", timeout=2, markup=False)

    def action_editor(self) -> None:
        """Hand the terminal to $EDITOR; what comes back is one step of undo."""
        recipe = self.recipe
        if recipe is None:
            return
        try:
            text = self._edited(recipe.document.text)
        except SuspendNotSupported:
            self.notify("This terminal cannot be handed to an editor.", severity="error")
            return
        except OSError as error:
            self.notify(f"{_editor()[0]}: {error.strerror or error}", severity="error", markup=False)
            return
        if text != recipe.document.text:
            recipe.document.edit_text(text, "edit in $EDITOR")
            self.changed()

    def _edited(self, text: str) -> str:
        with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
            path = Path(folder) / "recipe.toml"
            path.write_text(text, encoding="utf-8")
            with self.app.suspend():
                subprocess.run([*_editor(), str(path)], check=False)
            return path.read_text(encoding="utf-8", errors="replace")


def _editor() -> list[str]:
    return shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")


def _run_name(recipe: OpenRecipe) -> str:
    name = recipe.document.stated("run.name").value
    return name if isinstance(name, str) and name else "recipe"


def _refuse_name(name: str) -> str:
    path = Path(name.strip()).expanduser()
    if path.suffix != ".toml":
        return "A recipe's name ends in .toml."
    if not path.parent.is_dir():
        return f"There is no folder {path.parent}."
    return ""

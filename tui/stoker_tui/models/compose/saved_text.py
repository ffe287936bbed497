"""A text that is edited: undo and redo, and a save that overwrites nobody's work."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stoker.errors import UsageError
from stoker_tui.models.compose.files import read_file, write_file

_MOST_UNDOS = 500


class Step(NamedTuple):
    """A text, and what was done to it then."""

    text: str
    words: str


class SavedText:
    """`path` is None until it has a name."""

    def __init__(self, text: str = "", path: Path | None = None) -> None:
        """`text` is what the file at `path` holds."""
        self.text = text
        self.path = path
        self.revision = 0
        """Grows with every change of the text."""
        self._undo: list[Step] = []
        self._redo: list[Step] = []
        self._saved = text if path is not None else None
        """The file as it was last read or written; None where there is none."""

    @property
    def is_modified(self) -> bool:
        """Whether there is something to save."""
        return self.text != (self._saved or "")

    @property
    def has_work(self) -> bool:
        """Whether leaving it would lose anybody's work: more than a copy of something else."""
        return self.is_modified and (self.path is not None or bool(self._undo))

    def edit_text(self, text: str, words: str = "edit the text") -> None:
        """Replace the whole text, as after an editor; one step of undo."""
        if text == self.text:
            return
        self._undo.append(Step(self.text, words))
        del self._undo[:-_MOST_UNDOS]
        self._redo.clear()
        self._put(text)

    def undo(self) -> str:
        """Take the last step back; returns what it was, or an empty string."""
        return self._travel(self._undo, self._redo)

    def redo(self) -> str:
        """Do again what was taken back last; returns what it was, or an empty string."""
        return self._travel(self._redo, self._undo)

    @property
    def is_changed_on_disk(self) -> bool:
        """Whether somebody else wrote, made or removed the file since it was read or saved."""
        return self.path is not None and read_file(self.path, missing=None) != self._saved

    def save(self, path: Path | None = None, *, replace: bool = False) -> Path:
        """Write the text, all of it or nothing, and return where.

        Raises `UsageError` without a name, and unless `replace` where the file is there already or was
        changed meanwhile; `StorageError` where it cannot be written.
        """
        target = path or self.path
        if target is None:
            raise UsageError("the recipe has no name yet.", hint="Name a file that ends in .toml.")
        known = self._saved if target == self.path else None
        found = None if replace else read_file(target, missing=None)
        if not replace and found not in (known, self.text):
            what = "exists already" if known is None else "was changed or removed by somebody else"
            raise UsageError(f"{target} {what}.", hint="Save it under another name, or replace it.")
        write_file(target, self.text)
        self.path, self._saved = target, self.text
        self.revision += 1
        return target

    def _put(self, text: str) -> None:
        self.text = text
        self.revision += 1

    def _travel(self, back: list[Step], forth: list[Step]) -> str:
        if not back:
            return ""
        text, words = back.pop()
        forth.append(Step(self.text, words))
        self._put(text)
        return words

    def _state(self) -> tuple[str, int, list[Step]]:
        return self.text, len(self._undo), list(self._redo)

    def _restore(self, state: tuple[str, int, list[Step]]) -> None:
        """As if nothing had been done since."""
        text, length, self._redo = state
        del self._undo[length:]
        self._put(text)

    def _merge(self, state: tuple[str, int, list[Step]], words: str) -> None:
        """Make one step of all that were done since."""
        text, length, _ = state
        del self._undo[length:]
        if self.text != text:
            self._undo.append(Step(text, words))

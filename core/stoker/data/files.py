"""Data files on disk: which of a folder's files belong to a split."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stoker.data.problems import DataError
from stoker.data.readers import DATA_SUFFIXES

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "eval": "validation",
    "evaluation": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
_HOUSEKEEPING = frozenset({"dataset_info.json", "dataset_infos.json", "state.json"})


@dataclass(frozen=True)
class ChosenFiles:
    """Files to read, in order, and what the user should know about the choice."""

    files: list[Path]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What is left out though nobody said so."""


def find_files(path: Path, split: str | None) -> ChosenFiles:
    """The data files that `path`, a file or a folder, stands for; folders are searched to the bottom.

    When names in a folder carry a split (`train-0.jsonl`, `test.csv`, `data/validation/x.parquet`),
    only the files of `split` are taken, by default `train`; otherwise all of them.
    """
    if path.is_file():
        return ChosenFiles([_checked_file(path, split)])
    found = sorted(file for file in walk_files(path) if _is_data_file(file, path))
    if not found:
        raise DataError(f"{path}: no data file in it.", hint=f"Known kinds: {_known_kinds()}.")
    splits = {file: _split_of(file.relative_to(path)) for file in found}
    if split is None and not any(splits.values()):
        return ChosenFiles(found)
    wanted = _SPLIT_WORDS.get(split or "train", split)
    files = [file for file in found if splits[file] == wanted]
    if not files:
        names = ", ".join(sorted({name for name in splits.values() if name})) or "none"
        raise DataError(f"{path}: no file of split {split or 'train'!r}; splits found: {names}.")
    notes, warnings = [], []
    if len(files) < len(found):
        notes.append(f"{path}: {len(files)} of {len(found)} files are used (split {wanted!r})")
    if others := [file.relative_to(path) for file in found if splits[file] is None]:
        warnings.append(
            f"{len(others)} of {len(found)} files are left out, such as {others[0]}: other names "
            "carry a split, theirs do not"
        )
    return ChosenFiles(files, notes, warnings)


def walk_files(folder: Path) -> Iterator[Path]:
    """All files below a folder, through links too. Raises `DataError` for what cannot be listed."""
    seen: set[Path] = set()
    for place, folders, files in os.walk(folder, onerror=_cannot_list, followlinks=True):
        real = Path(place).resolve()
        if real in seen:
            # A link that leads back up.
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / file for file in files)


def _cannot_list(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed: {error.strerror}.") from error


def _checked_file(path: Path, split: str | None) -> Path:
    if path.suffix.lower() not in DATA_SUFFIXES:
        raise DataError(f"{path}: unknown kind of file.", hint=f"Known kinds: {_known_kinds()}.")
    if split not in (None, "train"):
        raise DataError(
            f"{path}: a single file has no split {split!r}.",
            hint="Leave `split` out, or name the folder that holds the splits.",
        )
    return path


def _known_kinds() -> str:
    return ", ".join(DATA_SUFFIXES)


def _is_data_file(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    known = file.suffix.lower() in DATA_SUFFIXES and file.name not in _HOUSEKEEPING
    return known and not hidden and file.is_file()


def _split_of(relative: Path) -> str | None:
    """The split a file's name, or else the nearest of its folders' names, stands for."""
    for part in (relative.stem, *reversed(relative.parent.parts)):
        words = re.split(r"[^a-z]+", part.lower())
        for word in words:
            if word in _SPLIT_WORDS:
                return _SPLIT_WORDS[word]
    return None

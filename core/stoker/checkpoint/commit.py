"""Atomic commit of a directory: written under another name, synced, then renamed. Torch-free.

A checkpoint exists from the moment of the rename, whole, or not at all. Ranks need no word between
them: each writes its files and, last of all, its table; rank 0 waits for the tables and seals.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from stoker.checkpoint.manifest import (
    MANIFEST_DIGEST_NAME,
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    PieceEntry,
    are_portable,
    manifest_digest_text,
    require_whole,
)
from stoker.durable import (
    make_directory,
    remove_file,
    remove_tree,
    rename,
    sync_directory,
    write_durably,
)

TEMPORARY_PREFIX = ".tmp-"
_CHUNK_BYTES = 4 * 2**20
PART_SUFFIX = ".part.json"
"""Each rank's table of pieces and files, merged into the manifest and then removed."""


class Commit:
    """One checkpoint in the making. Every rank writes into `directory`; rank 0 seals.

    `token` makes the name of the temporary directory unique: what an earlier try left is no hindrance.
    """

    def __init__(self, parent: Path, name: str, token: str = "0") -> None:
        self.directory = parent / f"{TEMPORARY_PREFIX}{name}-{token}"
        self.final = parent / name

    def begin(self) -> None:
        """Make the directory, unless another rank has."""
        make_directory(self.directory)

    def num_parts(self) -> int:
        """Ranks that have written all of theirs."""
        return sum(1 for _ in self.directory.glob(f"*{PART_SUFFIX}"))

    def seal(self, manifest: Manifest, shapes: Mapping[str, tuple[int, ...]] | None = None) -> None:
        """Merge the ranks' tables into the manifest and make the checkpoint durable.

        `shapes` are those of all trained parameters: a checkpoint that lacks a part of one of them is
        not committed. Raises `StorageError` then, and `OSError` when the disk does not take it.
        """
        pieces: list[PieceEntry] = []
        files: dict[str, FileEntry] = {}
        for part in sorted(self.directory.glob(f"*{PART_SUFFIX}")):
            table = json.loads(part.read_text())
            pieces += [
                PieceEntry(**{**piece, "shape": tuple(piece["shape"])}) for piece in table["pieces"]
            ]
            files |= {name: FileEntry(**entry) for name, entry in table["files"].items()}
            remove_file(part)
        require_whole(pieces, shapes)
        manifest = dataclasses.replace(
            manifest, pieces=pieces, files=files, portable=are_portable(pieces)
        )
        content = manifest.to_json().encode()
        write_durably(self.directory / MANIFEST_NAME, content)
        write_durably(self.directory / MANIFEST_DIGEST_NAME, manifest_digest_text(content).encode())
        sync_directory(self.directory)
        if self.final.exists():
            # A damaged one of the same step, which this run was not resumed from.
            remove(self.final)
        rename(self.directory, self.final)
        sync_directory(self.final.parent)

    def abandon(self) -> None:
        """Remove what was written so far. Raises `OSError` where that is not possible."""
        remove_tree(self.directory)


def digest(path: Path, alive: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a file, in hexadecimal. `alive` is called every few megabytes."""
    total = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            total.update(chunk)
            alive()
    return total.hexdigest()


def remove_leftovers(parent: Path) -> None:
    """Delete what an attempt that was killed left unfinished. Nobody may be writing meanwhile."""
    for path in sorted(parent.glob(f"{TEMPORARY_PREFIX}*")):
        remove_tree(path)


def remove(path: Path) -> None:
    """Delete a checkpoint: out of sight in one step first, so that no torso is ever found."""
    trash = path.with_name(f"{TEMPORARY_PREFIX}trash-{path.name}")
    remove_tree(trash)
    rename(path, trash)
    remove_tree(trash)

"""Atomic commit of a directory: written under another name, synced, then renamed. Torch-free.

A checkpoint exists from the moment of the rename, whole, or not at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

from stoker.checkpoint.manifest import MANIFEST_NAME, FileEntry, Manifest, PieceEntry, are_portable
from stoker.durable import sync_directory, write_durably

TEMPORARY_PREFIX = ".tmp-"
PART_SUFFIX = ".part.json"
"""Each rank's piece table, merged into the manifest and then removed."""


class Commit:
    """One checkpoint in the making. Every rank writes into `directory`; rank 0 begins and seals."""

    def __init__(self, parent: Path, name: str) -> None:
        self.directory = parent / f"{TEMPORARY_PREFIX}{name}"
        self.final = parent / name

    def begin(self) -> None:
        """Make a fresh directory; what an earlier attempt left is removed."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(mode=0o700, parents=True)

    def seal(self, manifest: Manifest) -> None:
        """Merge the ranks' tables into the manifest and make the checkpoint durable."""
        pieces: list[PieceEntry] = []
        files: dict[str, FileEntry] = {}
        for part in sorted(self.directory.glob(f"*{PART_SUFFIX}")):
            table = json.loads(part.read_text())
            pieces += [PieceEntry(**piece) for piece in table["pieces"]]
            files |= {name: FileEntry(**entry) for name, entry in table["files"].items()}
            part.unlink()
        manifest = dataclasses.replace(
            manifest, pieces=pieces, files=files, portable=are_portable(pieces)
        )
        write_durably(self.directory / MANIFEST_NAME, manifest.to_json().encode())
        sync_directory(self.directory)
        shutil.rmtree(self.final, ignore_errors=True)
        os.rename(self.directory, self.final)
        sync_directory(self.final.parent)

    def abandon(self) -> None:
        """Remove what was written so far."""
        shutil.rmtree(self.directory, ignore_errors=True)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(parent: Path) -> None:
    """Delete what an attempt that was killed left unfinished. Nobody may be writing meanwhile."""
    for path in parent.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Delete a checkpoint: out of sight in one step first, so that no torso is ever found."""
    trash = path.with_name(f"{TEMPORARY_PREFIX}trash-{path.name}")
    shutil.rmtree(trash, ignore_errors=True)
    os.rename(path, trash)
    shutil.rmtree(trash)

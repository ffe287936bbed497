"""Finds checkpoints and tells whether they are valid. Torch-free.

Order comes from names and manifests, never from times. Nothing here trusts what lies in the directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from stat import S_ISREG

from stoker.checkpoint.commit import TEMPORARY_PREFIX, digest
from stoker.checkpoint.manifest import Manifest, read_manifest
from stoker.durable import rename, sync_directory
from stoker.errors import StorageError

DAMAGED_PREFIX = "damaged-"
"""Of checkpoints that a resume passed over: the run has gone on from an older one."""


class Checkpoint:
    """A committed checkpoint on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def manifest(self) -> Manifest:
        """Parsed once. Raises `StorageError` if it is missing or damaged."""
        return read_manifest(self.path)

    @property
    def step(self) -> int:
        """The step it was taken after."""
        return self.manifest.step

    @property
    def num_bytes(self) -> int:
        """Size of its files."""
        return sum(entry.size for entry in self.manifest.files.values())

    def verify(self, share: int = 0, shares: int = 1, alive: Callable[[], None] = lambda: None) -> None:
        """Compare files' sizes and SHA-256 with the manifest. Raises `StorageError`.

        Sizes of all files, and the content of those whose number modulo `shares` is `share`: several
        processes may divide the reading between them. `alive` is called every few megabytes.
        """
        for number, (name, entry) in enumerate(sorted(self.manifest.files.items())):
            path = self.path / name
            try:
                status = path.lstat()
                if not S_ISREG(status.st_mode) or status.st_size != entry.size:
                    raise StorageError(f"{path} has the wrong size, or is no file of its own.")
                if number % shares == share and digest(path, alive) != entry.sha256:
                    raise StorageError(f"{path} is damaged: its SHA-256 differs from the manifest's.")
            except OSError as error:
                raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error


@dataclass(frozen=True)
class Found:
    """A directory that is called like a checkpoint."""

    checkpoint: Checkpoint
    problem: str = ""
    """Why it is none, as far as its manifest shows; empty where nothing speaks against it."""

    @property
    def name(self) -> str:
        """`step-00000200`."""
        return self.checkpoint.path.name


def survey(directory: Path, run_id: str | None = None) -> list[Found]:
    """Everything in `directory` that is called like a checkpoint, newest first; files are not read yet.

    `run_id`: checkpoints of another run are none. None accepts any.
    """
    paths = sorted(directory.glob("step-*"), reverse=True)
    return [Found(Checkpoint(path), _problem(path, run_id)) for path in paths]


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that it is never looked at again; returns where it is now.

    What it holds is for its owner to keep or to delete. Raises `OSError`.
    """
    target, number = path.with_name(f"{DAMAGED_PREFIX}{path.name}"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{DAMAGED_PREFIX}{path.name}-{number}")
    rename(path, target)
    sync_directory(path.parent)
    return target


def unfinished(directory: Path) -> list[Path]:
    """What an attempt that was killed left behind; the next one deletes it."""
    return sorted(directory.glob(f"{TEMPORARY_PREFIX}*"))


def list_checkpoints(directory: Path) -> list[Checkpoint]:
    """Committed checkpoints with a readable manifest, oldest step first."""
    found = [each.checkpoint for each in survey(directory) if not each.problem]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest_valid(directory: Path, run_id: str | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint whose files verify, and why newer ones were passed over."""
    passed_over: list[str] = []
    for checkpoint, problem in examine(directory, run_id):
        if not problem:
            return checkpoint, passed_over
        passed_over.append(problem)
    return None, passed_over


def examine(directory: Path, run_id: str | None = None) -> Iterator[tuple[Checkpoint, str]]:
    """Each checkpoint, newest first, with what is wrong with it; reads all of its files."""
    for found in survey(directory, run_id):
        problem = found.problem
        if not problem:
            try:
                found.checkpoint.verify()
            except StorageError as error:
                problem = error.message
        # A run that is at work deletes what it no longer keeps.
        if not problem or found.checkpoint.path.is_dir():
            yield found.checkpoint, problem


def _problem(path: Path, run_id: str | None) -> str:
    try:
        manifest = read_manifest(path)
    except StorageError as error:
        return error.message
    if path.name != f"step-{manifest.step:08d}":
        return f"{path} holds step {manifest.step}: it was renamed."
    if run_id is not None and manifest.run != run_id:
        return f"{path} belongs to another run."
    return ""

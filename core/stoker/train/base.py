"""The content hash of a model that checkpoints do not hold: the base of an adapter, or frozen layers.

An adapter on another base is another model, and nothing in its tensors tells.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.cache import cache_directory
from stoker.checkpoint.commit import digest
from stoker.errors import StokerError, StorageError, UsageError
from stoker.run.files import make_private_directory, replace_file

if TYPE_CHECKING:
    from stoker.checkpoint.finding import Checkpoint
    from stoker.run.context import Run

_HUB_BLOB = re.compile(r"[0-9a-f]{64}")


class BaseDigest:
    """Made in a thread from the start of a run: nobody waits for it before the first commit."""

    def __init__(self, run: Run) -> None:
        self.chunks_read = 0
        """Grows while it is at work."""
        self._run = run
        self._value = ""
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="base digest", daemon=True)
        self._thread.start()

    def value(self) -> str:
        """SHA-256, in hexadecimal. Waits for it. Raises `StorageError` where a file cannot be read."""
        self._thread.join()
        if self._error is not None:
            raise StorageError(
                f"the model's files in {self._run.model_directory} cannot be read: {self._error}."
            ) from self._error
        return self._value

    def _work(self) -> None:
        try:
            self._value = base_digest(self._run, self._note)
        except Exception as error:
            self._error = error

    def _note(self) -> None:
        self.chunks_read += 1


def base_digest(run: Run, alive: Callable[[], None] = lambda: None) -> str:
    """SHA-256 over the model's config and weight files, or over its config and the seed of random ones.

    Raises `OSError`.
    """
    total = hashlib.sha256()
    for path in _files(run.model_directory, with_weights=run.recipe.model.initial_weights != "random"):
        total.update(f"{path.name} {file_digest(path, alive)}\n".encode())
    if run.recipe.model.initial_weights == "random":
        total.update(f"random {run.recipe.run.seed}\n".encode())
    return total.hexdigest()


def require_same_base(run: Run, checkpoint: Checkpoint, digest: str) -> None:
    """Raise `UsageError` where what a checkpoint was trained on is not what the run would load."""
    before = checkpoint.manifest.base
    if before and before != digest:
        raise UsageError(
            f"model.path: the files of {run.recipe.model.path!r} are not those that "
            f"{checkpoint.path.name} was trained on.",
            hint="Put them back, or start a new run: stoker run --fresh.",
        )


def _files(directory: Path, *, with_weights: bool) -> Iterable[Path]:
    names = ["config.json"]
    if with_weights:
        names += ["*.safetensors", "*.safetensors.index.json"]
    return sorted({path for name in names for path in directory.glob(name)})


def file_digest(path: Path, alive: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a file: read once, then remembered for as long as it does not change.

    In a cache of the Hugging Face hub large files are links to blobs that are called by it.
    """
    target = path.resolve()
    if target != path and target.parent.name == "blobs" and _HUB_BLOB.fullmatch(target.name):
        return target.name
    status = target.stat()
    identity = f"{target} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    known = cache_directory() / "digests" / key
    try:
        text = known.read_text()
        if _HUB_BLOB.fullmatch(text):
            return text
    except OSError:
        pass
    value = digest(target, alive)
    try:
        make_private_directory(known.parent)
        replace_file(known, value)
    except StokerError:
        # A cache that cannot be written costs the next run a reading, no more.
        pass
    return value

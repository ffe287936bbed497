"""The runs that are tortured, and what there is to compare of them."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from stoker.checkpoint.finding import newest_valid, unfinished
from stoker.errors import StorageError
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.lease import is_held
from stoker.testing.fit import tiny_recipe
from stoker.testing.tiny import write_tiny_model
from stoker.torture.forking import Forked, Prepare, children_of, kill, reap_children, start_launcher

ENGINES = {
    "default": {},
    "fsdp": {"fsdp": "{ strategy = 'FULL_SHARD' }"},
    "zero-2": {"zero": "{ stage = 2 }"},
    "lora": {"lora": "{ rank = 4, dropout = 0.1 }"},
}
"""Plugins by engine, as `--set` takes them."""
STEPS = 40
INTERVAL = 2
"""Steps between two checkpoints."""
SECONDS_TO_END = 120.0
"""Nothing here takes so long; what does hangs."""


@dataclass(frozen=True)
class Setup:
    """What is trained, and where."""

    folder: Path
    engine: str
    ranks: int = 2
    settings: tuple[str, ...] = ()

    def make(self, name: str) -> RunDirectory:
        """A new run: a tiny Llama with dropout, checkpoints every other step, all of it asynchronous."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "model").exists():
            write_tiny_model(self.folder / "model", attention_dropout=0.1)
        plugins = [f"plugins.{plugin}={table}" for plugin, table in ENGINES[self.engine].items()]
        recipe = tiny_recipe(
            self.folder,
            [
                f"train.steps={STEPS}",
                "train.evaluate_every=10",
                f'checkpoint.every="{INTERVAL} steps"',
                f"run.name={name}",
                *plugins,
                *self.settings,
            ],
        )
        return RunDirectory.create(self.folder / "runs", name, recipe)


@dataclass(frozen=True)
class Result:
    """What two runs must have in common, bit for bit."""

    losses: tuple[float, ...]
    """Of every step; the last attempt that trained it counts."""
    tensors: str
    """SHA-256 over all weights and optimizer states of the last checkpoint, gathered."""


def result_of(directory: RunDirectory) -> Result:
    """Of a run that is done. Raises `StorageError` where its last checkpoint is not valid."""
    losses = {e["step"]: e["loss"] for e in read_events(directory.events_path) if e["kind"] == "step"}
    checkpoint, _ = newest_valid(directory.checkpoints_path, directory.read_record().id)
    if checkpoint is None or checkpoint.step != STEPS:
        raise StorageError(f"{directory.name} has no valid checkpoint of its last step.")
    return Result(tuple(losses[step] for step in sorted(losses)), tensors_digest(checkpoint.path))


def tensors_digest(path: Path) -> str:
    """SHA-256 over names, kinds and gathered values, whatever files and pieces hold them."""
    from stoker.checkpoint.finding import Checkpoint
    from stoker.checkpoint.reading import CheckpointSource

    checkpoint = Checkpoint(path)
    source, total = CheckpointSource(checkpoint), hashlib.sha256()
    for name, kind in sorted({(piece.name, piece.kind) for piece in checkpoint.manifest.pieces}):
        values = source.read(name, kind)
        total.update(f"{name} {kind} {values.dtype}".encode())
        total.update(values.contiguous().view(-1).numpy().tobytes())
    return total.hexdigest()


class Attempt:
    """A launcher and its ranks at work."""

    def __init__(self, directory: RunDirectory, ranks: int, prepare: Prepare | None = None) -> None:
        wait_until_free(directory)
        self.directory = directory
        self.num_ranks = ranks
        self.started = time.monotonic()
        self.launcher: Forked = start_launcher(directory, ranks, prepare)

    def ranks(self) -> list[int]:
        """Process ids of the ranks that live, oldest first."""
        return children_of(self.launcher.pid)

    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.started

    def is_over_by(self, seconds: float) -> bool:
        """Wait until so many seconds after its start; whether it has ended before."""
        while self.seconds() < seconds:
            if self.launcher.poll() is not None:
                return True
            time.sleep(0.001)
        return self.launcher.poll() is not None

    def wait(self) -> int:
        """Its exit code. Kills what hangs, and raises `TimeoutError`."""
        try:
            return self.launcher.wait(SECONDS_TO_END)
        except TimeoutError:
            for pid in (self.launcher.pid, *self.ranks()):
                kill(pid)
            raise


def wait_until_free(directory: RunDirectory) -> None:
    """Ranks of a launcher that was killed still save and leave. Raises `TimeoutError`.

    The launcher itself has been waited for.
    """
    deadline = time.monotonic() + SECONDS_TO_END
    while is_held(directory.lease_path):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{directory.name}: ranks of a killed launcher do not leave.")
        time.sleep(0.005)
    reap_children()


def leftovers(directory: RunDirectory) -> int:
    """Unfinished directories that are still there after the end."""
    return len(unfinished(directory.checkpoints_path))

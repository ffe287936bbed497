"""Two ranks' writers at work at the same time, as threads: commits and retention without training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from power_loss import Recording

from stoker.checkpoint.background import Seal, Write
from stoker.checkpoint.commit import Commit, remove
from stoker.checkpoint.finding import Checkpoint, list_checkpoints
from stoker.checkpoint.manifest import Manifest
from stoker.checkpoint.reading import CheckpointSource
from stoker.train.engine import Piece

STEPS = (1, 2, 3)
SHAPE = (6, 4)
FOLDER = "checkpoints"
_BOUNDS = ((0, 10), (10, 24))


def values(step: int) -> torch.Tensor:
    return torch.arange(24, dtype=torch.float32) + 100 * step


def manifest(step: int) -> Manifest:
    return Manifest(
        step=step,
        optimizer_steps=step,
        rows_consumed=0,
        tokens=0,
        supervised_tokens=0,
        best_eval_loss=None,
        best_step=0,
        evaluated_step=-1,
        metrics={},
        recipe_fingerprint="",
        data={},
        micro_batch_size=1,
        world_size=2,
        plugins={},
        versions={},
    )


def save(parent: Path, step: int) -> list[Exception]:
    """Both ranks write at once and rank 0 commits; what went wrong."""
    writes = []
    for rank, (start, stop) in enumerate(_BOUNDS):
        piece = Piece("w", "weight", SHAPE, start, stop, values(step)[start:stop])
        seal = Seal(partial(manifest, step), {"w": SHAPE}, len(_BOUNDS)) if rank == 0 else None
        commit = Commit(parent, f"step-{step:08d}", f"1-{step}")
        writes.append(Write(step, commit, rank, [piece], seal))
    for write in writes:
        write.start()
    for write in writes:
        write.join()
    return [write.error for write in writes if write.error is not None]


def keep_one(parent: Path) -> None:
    for checkpoint in list_checkpoints(parent)[:-1]:
        remove(checkpoint.path)


def history(parent: Path, keep: bool = False) -> list[Exception]:
    """Every step is saved, and what is older deleted unless `keep`; the first errors."""
    for step in STEPS:
        if errors := save(parent, step):
            return errors
        if not keep:
            keep_one(parent)
    return []


def is_right(parent: Path, step: int) -> bool:
    """Whether the checkpoint of a step holds the values of that step, of both ranks."""
    checkpoint = Checkpoint(parent / f"step-{step:08d}")
    checkpoint.verify()
    return torch.equal(CheckpointSource(checkpoint).read("w", "weight"), values(step))


def recorded(folder: Path) -> tuple[Recording, Path]:
    """A history, and a directory that holds what there was before it."""
    start, root = folder / "start", folder / "root"
    for place in (start, root):
        (place / FOLDER).mkdir(parents=True)
    with Recording(root) as recording:
        errors = history(root / FOLDER)
    assert errors == []
    return recording, start

"""Saves, retention and clean-up as the saver makes them, on two ranks, without training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from disk_model import Disk, Killed
from safetensors import SafetensorError

from stoker.checkpoint.commit import Commit, remove, remove_leftovers
from stoker.checkpoint.finding import Checkpoint, list_checkpoints, newest_valid
from stoker.checkpoint.manifest import Manifest
from stoker.checkpoint.reading import CheckpointSource
from stoker.checkpoint.tensors import write_pieces
from stoker.durable import observing
from stoker.train.engine import Piece

STEPS = (1, 2, 3)
SHAPE = (6, 4)


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


def save(parent: Path, step: int) -> None:
    commit = Commit(parent, f"step-{step:08d}", f"1-{step}")
    commit.begin()
    for rank, (start, stop) in enumerate(((0, 10), (10, 24))):
        piece = Piece("w", "weight", SHAPE, start, stop, values(step)[start:stop])
        write_pieces(commit.directory, rank, [piece])
    commit.seal(manifest(step), {"w": SHAPE})


def keep_one(parent: Path) -> None:
    for checkpoint in list_checkpoints(parent)[:-1]:
        remove(checkpoint.path)


def history(parent: Path, durable: Callable[[int], None] = lambda step: None) -> None:
    """Each step is saved, then what is older is deleted; `durable` hears of each commit."""
    remove_leftovers(parent)
    for step in STEPS:
        save(parent, step)
        durable(step)
        keep_one(parent)


def count_operations(folder: Path) -> int:
    disk = Disk(fresh(folder))
    with observing(disk.observe):
        history(disk.root)
    disk.release()
    return len(disk.log)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "checkpoints"
    root.mkdir(parents=True)
    return root


def killed_at(folder: Path, operation: int) -> tuple[Disk, int]:
    """A history that ends before an operation, and the newest step that was durable then, or 0."""
    disk, durable = Disk(fresh(folder), kill_at=operation), [0]
    with observing(disk.observe), suppress(Killed):
        history(disk.root, durable.append)
    disk.release()
    return disk, durable[-1]


def problem_of(directory: Path, durable: int) -> str:
    """What is wrong with what a resume would find; empty where nothing is."""
    found, passed_over = newest_valid(directory)
    if passed_over:
        return f"not valid: {passed_over[0]}"
    if found is None:
        return "nothing is left" if durable else ""
    if found.step < durable:
        return f"step {found.step} although {durable} was durable"
    try:
        whole = CheckpointSource(Checkpoint(found.path)).read("w", "weight")
    except SafetensorError as error:
        return f"step {found.step} cannot be read: {error}"
    return "" if torch.equal(whole, values(found.step)) else f"other values in step {found.step}"


def problems_after_kills(folder: Path) -> list[str]:
    """A kill before every operation."""
    found = []
    for operation in range(count_operations(folder / "count") + 1):
        disk, durable = killed_at(folder / "run", operation)
        found.append(problem_of(disk.root, durable))
        remove_leftovers(disk.root)
        found.append(problem_of(disk.root, durable))
    return [problem for problem in found if problem]


def problems_after_power_cuts(folder: Path) -> list[str]:
    """A power cut before every operation, with every state of the disk that it may leave."""
    found = []
    for operation in range(count_operations(folder / "count") + 1):
        disk, durable = killed_at(folder / "run", operation)
        shutil.rmtree(folder / "images", ignore_errors=True)
        found += [problem_of(image, durable) for image in disk.images(folder / "images")]
    return [problem for problem in found if problem]

"""Whether there is room for checkpoints: on the disk, and in host memory for a copy."""

from __future__ import annotations

import math
import os
import shutil
from typing import TYPE_CHECKING

import psutil

from stoker.doctor.limits import memory_limit_bytes
from stoker.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stoker.train.boundary import Boundary
    from stoker.train.engine import Piece
    from stoker.train.state import State

_COPIES = 2
"""One is replaced only when the next is durable."""
_SHARE_OF_MEMORY = 0.8
_ADAMW = 3
"""A weight and two moments of its size: what a state will be that has no moments yet, at most."""


def require_room(state: State, boundary: Boundary) -> int:
    """Bytes of a checkpoint, of all ranks. Collective.

    Raises `StorageError` on every rank where the disk has no room for two of them; says so where it
    has none for all that `checkpoint.keep` keeps.
    """
    run = state.run
    size = boundary.total(_own_bytes(state))
    path, keep, there = (
        run.directory.checkpoints_path,
        run.recipe.checkpoint.keep,
        len(state.checkpoints),
    )
    free = shutil.disk_usage(path).free
    if not boundary.all_fine(size * max(1, _COPIES - there) <= free):
        raise StorageError(
            f"there is no room for two checkpoints of {_gigabytes(size)} each in {path}: "
            f"{_gigabytes(free)} are free.",
            hint="Make room, or choose another folder with --run-dir.",
        )
    # The newest, the best, the result, and one in the making.
    most = keep + 3
    if run.is_main and size * (most - there) > free:
        message = f"there is room for fewer than {most} checkpoints of {_gigabytes(size)}"
        run.events.write("alert", message=f"{message}; checkpoint.keep is {keep}")
    return size


def fits_in_memory(num_bytes: int) -> bool:
    """Whether each rank of this node can allocate so much host memory and leave the others some."""
    available: float = psutil.virtual_memory().available
    limit = memory_limit_bytes()
    if limit is not None:
        available = min(available, limit - psutil.Process().memory_info().rss)
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return num_bytes <= available * _SHARE_OF_MEMORY / ranks


def num_bytes(pieces: Iterable[Piece]) -> int:
    """Bytes of all pieces together."""
    return sum(piece.flat.nbytes for piece in pieces)


def trained_shapes(state: State) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters that are trained, which a checkpoint holds, by name."""
    trained = (name for name, parameter in state.model.named_parameters() if parameter.requires_grad)
    return {name: tuple(state.run.parameter_shapes[name]) for name in trained}


def _own_bytes(state: State) -> int:
    """Bytes of this rank's part of a checkpoint; an estimate where the state is not in memory yet."""
    engine = state.engine
    if engine.streams_state:
        shapes = trained_shapes(state).values()
        # In float32, all of it counted on rank 0.
        return 4 * _ADAMW * sum(math.prod(shape) for shape in shapes) if state.run.is_main else 0
    factor = 1 if any(engine.optimizer.state.values()) else _ADAMW
    return factor * num_bytes(engine.tensors())


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"

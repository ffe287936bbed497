"""The manifest of a checkpoint: what it holds, where, and everything that is not a tensor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stoker.errors import StorageError

MANIFEST_NAME = "manifest.json"
LAYOUT = "flat-1"
MODEL_KINDS = ("weight", "buffer")
"""Kinds of pieces that belong to the model; all others are states of the optimizer."""


@dataclass(frozen=True)
class PieceEntry:
    """Where one row-major range of one tensor lies."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    stop: int
    dtype: str
    file: str
    key: str
    """The tensor's name in that safetensors file."""


@dataclass(frozen=True)
class FileEntry:
    """What a file must look like."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A checkpoint is valid if this file exists and every file in it has its size and digest."""

    step: int
    optimizer_steps: int
    """Updates applied; fewer than `step` where fp16 overflows skipped some."""
    rows_consumed: int
    tokens: int
    supervised_tokens: int
    best_eval_loss: float | None
    best_step: int
    evaluated_step: int
    """After which step the latest evaluation was; -1 before the first."""
    metrics: dict[str, float]
    recipe_fingerprint: str
    data: dict[str, str]
    """SHA-256 of the content of each source by dotted key, and of the recipe's table as `data`."""
    micro_batch_size: int
    world_size: int
    plugins: dict[str, Any]
    """State of plugins, by name."""
    versions: dict[str, str]
    engine: dict[str, float] = field(default_factory=dict)
    """What an engine keeps besides tensors: the state of loss scaling."""
    engine_class: str = ""
    """Name of the class of the engine that wrote it."""
    portable: bool = True
    """False where no other engine can take the optimizer's states: see `are_portable`."""
    layout: str = LAYOUT
    v: int = 1
    pieces: list[PieceEntry] = field(default_factory=list)
    files: dict[str, FileEntry] = field(default_factory=dict)

    def to_json(self) -> str:
        """Text of `manifest.json`."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)


def are_portable(pieces: Sequence[PieceEntry]) -> bool:
    """Whether all states of the optimizer belong to single elements of their parameters.

    Those can be cut as any engine cuts the parameters. States of another shape (scales of 8-bit moments,
    Adafactor's rows and columns) cannot.
    """
    shapes = {piece.name: piece.shape for piece in pieces if piece.kind == "weight"}
    return all(piece.kind in MODEL_KINDS or piece.shape == shapes.get(piece.name) for piece in pieces)


def read_manifest(directory: Path) -> Manifest:
    """Parse a checkpoint's manifest. Raises `StorageError` for a missing or damaged one."""
    path = directory / MANIFEST_NAME
    try:
        values = json.loads(path.read_text())
        if values["layout"] != LAYOUT:
            raise StorageError(f"{path}: layout {values['layout']!r} is not known to this version.")
        values["pieces"] = [
            PieceEntry(**{**piece, "shape": tuple(piece["shape"])}) for piece in values["pieces"]
        ]
        values["files"] = {name: FileEntry(**entry) for name, entry in values["files"].items()}
        return Manifest(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} cannot be read: {error}.") from error

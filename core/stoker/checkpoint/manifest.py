"""The manifest of a checkpoint: what it holds, where, and everything that is not a tensor."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stoker.errors import StorageError

MANIFEST_NAME = "manifest.json"
MANIFEST_DIGEST_NAME = "manifest.sha256"
"""Beside the manifest: its own SHA-256, in the format of `sha256sum`."""
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
    run: str = ""
    """The run's `id`, of run.json: a checkpoint is of no use to another run."""
    base: str = ""
    """SHA-256 of the model that it does not hold, see `stoker.train.base`; empty where it holds all."""
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
        if directory.is_symlink() or path.is_symlink():
            raise StorageError(f"{path} is reached by a link.")
        content = path.read_bytes()
        if (directory / MANIFEST_DIGEST_NAME).read_bytes() != manifest_digest_text(content).encode():
            raise StorageError(f"{path} is damaged: its SHA-256 differs from {MANIFEST_DIGEST_NAME}.")
        return _parse(json.loads(content), path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(f"{path} cannot be read: {error}.") from error


def _parse(values: dict[str, Any], path: Path) -> Manifest:
    if values["layout"] != LAYOUT:
        raise StorageError(f"{path}: layout {values['layout']!r} is not known to this version.")
    for name in values["files"]:
        if name != Path(name).name or name in ("", ".", ".."):
            raise StorageError(f"{path} names {name!r}, which is no file of its directory.")
    pieces = [PieceEntry(**{**piece, "shape": tuple(piece["shape"])}) for piece in values["pieces"]]
    files = {name: FileEntry(**entry) for name, entry in values["files"].items()}
    strangers = {piece.file for piece in pieces} - files.keys()
    if strangers:
        raise StorageError(f"{path} has no digest of {min(strangers)!r}.")
    manifest = Manifest(**{**values, "pieces": pieces, "files": files})
    if not isinstance(manifest.step, int):
        raise StorageError(f"{path}: the step {manifest.step!r} is no number.")
    return manifest


def manifest_digest_text(content: bytes) -> str:
    """What `manifest.sha256` must be for a manifest of this content."""
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_NAME}\n"


def require_whole(
    pieces: Sequence[PieceEntry], shapes: Mapping[str, tuple[int, ...]] | None = None
) -> None:
    """Raise `StorageError` unless the pieces hold every element of their tensors once.

    `shapes`: every parameter that must be there as a weight, by name; None asks for none.
    """
    tensors: dict[tuple[str, str], list[PieceEntry]] = {}
    for piece in pieces:
        tensors.setdefault((piece.name, piece.kind), []).append(piece)
    for (name, kind), parts in tensors.items():
        position = 0
        for part in sorted(parts, key=lambda part: part.start):
            if part.start != position or part.shape != parts[0].shape:
                raise StorageError(
                    f"{kind} {name!r} is not whole: element {position} is stored "
                    f"{'twice' if part.start < position else 'nowhere'}."
                )
            position = part.stop
        if position != math.prod(parts[0].shape):
            raise StorageError(f"{kind} {name!r} is not whole: it ends at element {position}.")
    for name, shape in (shapes or {}).items():
        found = tensors.get((name, "weight"))
        if found is None and math.prod(shape) > 0:
            raise StorageError(f"the parameter {name!r} is missing.")
        if found is not None and found[0].shape != shape:
            raise StorageError(f"{name!r} has the shape {found[0].shape} instead of {shape}.")

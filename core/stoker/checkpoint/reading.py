"""Reads the tensors of a checkpoint, by range."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from stoker.checkpoint.finding import Checkpoint
from stoker.checkpoint.manifest import MODEL_KINDS, PieceEntry
from stoker.errors import StorageError


class CheckpointSource:
    """Tensors of a checkpoint by name, kind and range, whatever ranks wrote them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.optimizer_steps = checkpoint.manifest.optimizer_steps
        self._pieces: dict[tuple[str, str], list[PieceEntry]] = {}
        for piece in checkpoint.manifest.pieces:
            self._pieces.setdefault((piece.name, piece.kind), []).append(piece)
        self._states: dict[str, list[str]] = {}
        for name, kind in self._pieces:
            if kind not in MODEL_KINDS:
                self._states.setdefault(name, []).append(kind)
        self._open: dict[str, Any] = {}

    def has(self, name: str, kind: str) -> bool:
        """Whether the checkpoint holds it."""
        return (name, kind) in self._pieces

    def optimizer_states(self, name: str) -> dict[str, torch.Size]:
        """Kinds of optimizer state stored for a parameter, and their shapes."""
        return {kind: self.shape(name, kind) for kind in self._states.get(name, ())}

    def names(self, kind: str = "weight") -> list[str]:
        """Names of all tensors of a kind."""
        return [name for name, piece_kind in self._pieces if piece_kind == kind]

    def shape(self, name: str, kind: str = "weight") -> torch.Size:
        """Shape of the whole tensor."""
        return torch.Size(self._pieces[name, kind][0].shape)

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Elements `start` to `stop` of the flattened tensor, put together from pieces.

        Raises `StorageError` where pieces do not cover the range.
        """
        pieces = self._pieces[name, kind]
        stop = torch.Size(pieces[0].shape).numel() if stop is None else stop
        parts = []
        position = start
        for piece in sorted(pieces, key=lambda piece: piece.start):
            if piece.start <= position < piece.stop and position < stop:
                end = min(stop, piece.stop)
                parts.append(self._slice(piece, position - piece.start, end - piece.start))
                position = end
        if position != stop:
            raise StorageError(
                f"{self.checkpoint.path}: {kind} {name!r} lacks elements {position} to {stop}."
            )
        return parts[0] if len(parts) == 1 else torch.cat(parts or [torch.empty(0)])

    def _slice(self, piece: PieceEntry, start: int, stop: int) -> Tensor:
        if piece.file not in self._open:
            self._open[piece.file] = safe_open(self.checkpoint.path / piece.file, framework="pt")
        part: Tensor = self._open[piece.file].get_slice(piece.key)[start:stop]
        return part

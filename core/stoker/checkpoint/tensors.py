"""Writes an engine's pieces as safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from stoker.checkpoint.commit import PART_SUFFIX, digest, sync_file, write_durably
from stoker.checkpoint.manifest import FileEntry, PieceEntry

if TYPE_CHECKING:
    from stoker.train.engine import Piece


def write_pieces(directory: Path, rank: int, pieces: Iterable[Piece]) -> None:
    """Write this rank's pieces to one file, and its table beside it; nothing if it has none.

    Raises `OSError` when the disk does not take it.
    """
    file = f"rank-{rank:05d}.safetensors"
    entries: list[PieceEntry] = []
    tensors = {}
    for piece in pieces:
        key = f"{piece.kind}/{piece.name}/{piece.start}"
        tensors[key] = piece.flat.detach().cpu().contiguous()
        dtype = str(piece.flat.dtype).removeprefix("torch.")
        entries.append(
            PieceEntry(piece.name, piece.kind, piece.shape, piece.start, piece.stop, dtype, file, key)
        )
    if not tensors:
        return
    path = directory / file
    save_safetensors(tensors, path)
    files = {file: asdict(FileEntry(path.stat().st_size, digest(path)))}
    table = {"pieces": [asdict(entry) for entry in entries], "files": files}
    write_durably(directory / f"rank-{rank:05d}{PART_SUFFIX}", json.dumps(table).encode())


def save_safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file of mode 0600 and sync it. Raises `OSError` on failure."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(0o600)
    sync_file(path)

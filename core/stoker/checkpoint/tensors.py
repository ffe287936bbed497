"""Writes an engine's pieces as safetensors, a bounded part of them at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from stoker.checkpoint.commit import PART_SUFFIX, digest
from stoker.checkpoint.manifest import FileEntry, PieceEntry
from stoker.durable import about_to, rename, sync_file, write_durably

if TYPE_CHECKING:
    from stoker.train.engine import Piece

FILE_BYTES = 2**30
"""Tensors are copied to the host and written in files of about this size, one after the other."""


def write_pieces(
    directory: Path,
    rank: int,
    pieces: Iterable[Piece],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write this rank's pieces to files, and then their table, which says that all of them are there.

    Takes the pieces one by one, so that those of a file are in memory at a time, and no more: an engine
    may bring each from elsewhere. `report` is given bytes written and bytes in all, 0 before the last
    is known, every few megabytes. Raises `OSError` when the disk does not take them.
    """
    entries: list[PieceEntry] = []
    files: dict[str, FileEntry] = {}
    done = 0
    for number, group in enumerate(in_groups(pieces)):
        name = f"rank-{rank:05d}-{number:05d}.safetensors"
        own = [_entry(piece, name) for piece in group]
        tensors = {
            entry.key: piece.flat.detach().cpu().contiguous()
            for entry, piece in zip(own, group, strict=True)
        }
        _separate(tensors)
        save_safetensors(tensors, directory / name)
        value = digest(directory / name, partial(report, done, 0))
        files[name] = FileEntry((directory / name).stat().st_size, value)
        entries += own
        done += sum(piece.flat.nbytes for piece in group)
        report(done, 0)
    report(done, done)
    table = {
        "pieces": [asdict(entry) for entry in entries],
        "files": {name: asdict(entry) for name, entry in files.items()},
    }
    part = directory / f"rank-{rank:05d}{PART_SUFFIX}"
    # Under its final name only when it is whole: rank 0 looks for that name.
    temporary = part.with_suffix(".tmp")
    write_durably(temporary, json.dumps(table).encode())
    rename(temporary, part)


def _separate(tensors: dict[str, torch.Tensor]) -> None:
    """Copy what is the same memory as another: safetensors takes each tensor once.

    Optimizers may keep one tensor for many parameters, such as the levels of 8-bit moments.
    """
    seen: set[int] = set()
    for key, tensor in tensors.items():
        if tensor.data_ptr() in seen:
            tensors[key] = tensor.clone()
        seen.add(tensor.data_ptr())


def in_groups(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces file by file."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        if group and size + piece.flat.nbytes > FILE_BYTES:
            yield group
            group, size = [], 0
        group.append(piece)
        size += piece.flat.nbytes
    if group:
        yield group


def _entry(piece: Piece, file: str) -> PieceEntry:
    dtype = str(piece.flat.dtype).removeprefix("torch.")
    key = f"{piece.kind}/{piece.name}/{piece.start}"
    return PieceEntry(piece.name, piece.kind, piece.shape, piece.start, piece.stop, dtype, file, key)


def save_safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file of mode 0600 and sync it. Raises `OSError` on failure."""
    about_to("create", path)
    about_to("write", path)
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(0o600)
    sync_file(path)

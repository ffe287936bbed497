"""Copies of an engine's state in host memory, so that training goes on while they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stoker.checkpoint.tensors import in_groups

if TYPE_CHECKING:
    from stoker.train.engine import Piece

_ALIGNMENT = 64


class Snapshot:
    """Host memory that is allocated once and filled for each checkpoint.

    A copy into kept memory runs at the speed of the memory; into new memory it is many times slower,
    for the system hands out each page at its first touch. From a GPU, the memory is page-locked.
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []

    @property
    def num_bytes(self) -> int:
        """Host memory in use."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def take(self, pieces: Iterable[Piece]) -> list[Piece]:
        """The same pieces with their values of this moment. The ones returned before become invalid.

        One buffer for each file to be: page-locked memory is handed out in powers of two, as are
        files of `FILE_BYTES`. A synchronisation where pieces are on a GPU.
        """
        taken: list[Piece] = []
        on_gpu = False
        for number, group in enumerate(in_groups(pieces)):
            on_gpu |= any(piece.flat.is_cuda for piece in group)
            buffer = self._buffer(number, sum(_padded(piece.flat.nbytes) for piece in group), on_gpu)
            taken += _copy(group, buffer)
        if on_gpu:
            torch.cuda.synchronize()
        return taken

    def _buffer(self, number: int, num_bytes: int, pinned: bool) -> Tensor:
        if number == len(self._buffers):
            self._buffers.append(torch.empty(0, dtype=torch.uint8))
        if self._buffers[number].nbytes < num_bytes:
            self._buffers[number] = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=pinned)
        return self._buffers[number]


def _copy(group: list[Piece], buffer: Tensor) -> list[Piece]:
    copies, offset = [], 0
    for piece in group:
        flat, size = piece.flat.detach(), piece.flat.nbytes
        place = buffer[offset : offset + size].view(flat.dtype)
        place.copy_(flat, non_blocking=True)
        copies.append(replace(piece, flat=place))
        offset += _padded(size)
    return copies


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT

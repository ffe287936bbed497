"""The tokenised index: every row's tokens, which of them are supervised, and the counts.

Kept as one Arrow file, read through the memory map, so that a data set larger than memory costs
nothing to open and all ranks of a machine share its pages. Read by DLPack: pyarrow's `to_numpy` imports
pandas, which takes a third of a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Row = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""Token ids and, for each of them, whether it is supervised."""

_SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("supervised", pa.list_(pa.bool_())),
        ("length", pa.int32()),
        ("num_supervised", pa.int32()),
        ("source", pa.int32()),
    ]
)
_NUM_SOURCES = b"num_sources"
_FLUSH_ROWS = 1024
_FLUSH_TOKENS = 2**22


def _schema(num_sources: int) -> pa.Schema:
    return _SCHEMA.with_metadata({_NUM_SOURCES: str(num_sources)})


class TokenIndex:
    """Rows of token ids with their supervision masks; read-only."""

    def __init__(self, table: pa.Table) -> None:
        """`table` is what `IndexWriter` writes; plugins that make rows use `from_rows`."""
        if not table.schema.equals(_SCHEMA):
            raise ValueError(f"not a token index: {table.schema}")
        self._ids = table.column("input_ids")
        self._supervised = table.column("supervised")
        self._table = table
        self._num_sources = int(table.schema.metadata[_NUM_SOURCES])
        sizes = [len(chunk) for chunk in self._ids.chunks]
        self._starts = np.cumsum([0, *sizes])

    @classmethod
    def open(cls, path: Path) -> TokenIndex:
        """Map a file that `IndexWriter` wrote. Raises `OSError` or `ValueError` when it is damaged."""
        with pa.memory_map(str(path)) as source:
            return cls(pa.ipc.open_file(source).read_all())

    @classmethod
    def from_rows(
        cls, rows: Iterable[tuple[Sequence[int], Sequence[bool]]], sources: Sequence[int] | None = None
    ) -> TokenIndex:
        """An index in memory, for tests and for plugins that make rows of their own."""
        batch = _Batch()
        for number, (ids, supervised) in enumerate(rows):
            source = sources[number] if sources is not None else 0
            batch.add(np.asarray(ids, dtype=np.int32), np.asarray(supervised, dtype=np.bool_), source)
        schema = _schema(max(sources or [0]) + 1)
        return cls(pa.Table.from_batches([batch.take()]).cast(schema))

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row."""
        return self._column("length")

    @cached_property
    def supervised_counts(self) -> NDArray[np.int32]:
        """Supervised targets of each row: the first token of a row is nobody's target."""
        return self._column("num_supervised")

    @cached_property
    def sources(self) -> NDArray[np.int32]:
        """For each row, its source's position in the recipe's list. Ascending."""
        return self._column("source")

    @cached_property
    def source_sizes(self) -> list[int]:
        """How many rows each source of the recipe's list has; 0 where none were left."""
        sizes: list[int] = np.bincount(self.sources, minlength=self._num_sources).tolist()
        return sizes

    def row(self, number: int) -> Row:
        """Token ids and supervision mask of a row, both of its length. Raises `IndexError`."""
        if not 0 <= number < len(self):
            raise IndexError(f"row {number} of an index of {len(self)}")
        chunk = int(np.searchsorted(self._starts, number, side="right")) - 1
        offset = number - int(self._starts[chunk])
        ids = self._ids.chunk(chunk).slice(offset, 1).flatten()
        supervised = self._supervised.chunk(chunk).slice(offset, 1).flatten()
        mask = np.from_dlpack(supervised.cast(pa.uint8()))
        return np.from_dlpack(ids).view(np.int32), mask.view(np.bool_)

    def _column(self, name: str) -> NDArray[np.int32]:
        chunks = [np.from_dlpack(chunk).view(np.int32) for chunk in self._table.column(name).chunks]
        return chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, np.int32), *chunks])


class _Batch:
    """Rows on their way into Arrow."""

    def __init__(self) -> None:
        self._ids: list[NDArray[np.int32]] = []
        self._supervised: list[NDArray[np.bool_]] = []
        self._sources: list[int] = []
        self.num_tokens = 0

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: NDArray[np.int32], supervised: NDArray[np.bool_], source: int) -> None:
        if ids.ndim != 1 or ids.shape != supervised.shape:
            raise ValueError(f"ids {ids.shape} and mask {supervised.shape} must be of one length")
        self._ids.append(ids)
        self._supervised.append(supervised)
        self._sources.append(source)
        self.num_tokens += len(ids)

    def take(self) -> pa.RecordBatch:
        lengths = np.array([len(ids) for ids in self._ids], dtype=np.int32)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        ids = np.concatenate([np.empty(0, np.int32), *self._ids])
        supervised = np.concatenate([np.empty(0, np.bool_), *self._supervised])
        columns = [
            pa.ListArray.from_arrays(offsets, pa.array(ids)),
            pa.ListArray.from_arrays(offsets, pa.array(supervised)),
            pa.array(lengths),
            pa.array([int(mask[1:].sum()) for mask in self._supervised], pa.int32()),
            pa.array(self._sources, pa.int32()),
        ]
        self.__init__()  # type: ignore[misc]
        return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)


class IndexWriter:
    """Writes an index row by row, in bounded memory. The file is whole only after a clean exit."""

    def __init__(self, path: Path, num_sources: int = 1) -> None:
        self._file = path.open("wb")
        self._writer = pa.ipc.new_file(self._file, _schema(num_sources))
        self._batch = _Batch()
        self.num_rows = 0
        self.num_tokens = 0
        self.num_supervised = 0

    def add(self, ids: NDArray[np.int32], supervised: NDArray[np.bool_], source: int) -> None:
        """Append a row that comes from the `source`-th source."""
        self._batch.add(ids, supervised, source)
        self.num_rows += 1
        self.num_tokens += len(ids)
        self.num_supervised += int(supervised[1:].sum())
        if len(self._batch) >= _FLUSH_ROWS or self._batch.num_tokens >= _FLUSH_TOKENS:
            self._writer.write_batch(self._batch.take())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            if error is not None:
                return
            if len(self._batch):
                self._writer.write_batch(self._batch.take())
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())

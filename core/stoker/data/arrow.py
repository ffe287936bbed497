"""Between NumPy and Arrow without pandas, which pyarrow's own ways import: a third of a second.

Layouts: https://arrow.apache.org/docs/format/Columnar.html (bits are least significant first). Arrays
without nulls only.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def int32_from(values: NDArray[np.int32]) -> pa.Int32Array:
    """The same memory as an Arrow array."""
    values = np.ascontiguousarray(values, dtype=np.int32)
    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)])


def bool_from(values: NDArray[np.bool_]) -> pa.BooleanArray:
    """A copy, eight to a byte."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def int32_of(array: pa.Int32Array) -> NDArray[np.int32]:
    """The same memory as NumPy sees it, read-only."""
    if not len(array):
        return np.empty(0, np.int32)
    return np.frombuffer(array.buffers()[1], np.int32, count=len(array), offset=4 * array.offset)


def bool_of(array: pa.BooleanArray) -> NDArray[np.bool_]:
    """A copy, a byte each."""
    if not len(array):
        return np.empty(0, np.bool_)
    first, skipped = divmod(array.offset, 8)
    num_bytes = -(-(skipped + len(array)) // 8)
    packed = np.frombuffer(array.buffers()[1], np.uint8, count=num_bytes, offset=first)
    bits = np.unpackbits(packed, bitorder="little", count=skipped + len(array))
    return bits[skipped:].view(np.bool_)

"""NumPy to Arrow and back, as pyarrow does it, without pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stoker.data.arrow import bool_from, bool_of, int32_from, int32_of


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 100])
def test_both_ways_are_pyarrows_also_of_slices(length: int) -> None:
    generator = np.random.default_rng(length)
    ids = generator.integers(-(2**31), 2**31, length).astype(np.int32)
    mask = generator.random(length) < 0.5
    assert int32_from(ids).equals(pa.array(ids))
    assert bool_from(mask).equals(pa.array(mask))
    for start in range(min(length, 20) + 1):
        for stop in {start, (start + length) // 2, length}:
            assert np.array_equal(int32_of(pa.array(ids).slice(start, stop - start)), ids[start:stop])
            found = bool_of(pa.array(mask).slice(start, stop - start))
            assert found.dtype == np.bool_
            assert np.array_equal(found, mask[start:stop])


def test_every_other_number_is_copied() -> None:
    assert int32_from(np.arange(10, dtype=np.int32)[::2]).to_pylist() == [0, 2, 4, 6, 8]


def test_an_index_is_written_and_read_without_pandas(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
import numpy as np
from stoker.data.store import IndexWriter, TokenIndex
path = Path({str(tmp_path / "index.arrow")!r})
with IndexWriter(path) as writer:
    for length in (3, 5):
        writer.add(np.arange(length, dtype=np.int32), np.arange(length) > 1, 0)
index = TokenIndex.open(path)
ids, supervised = index.row(1)
print(index.lengths.tolist(), index.supervised_counts.tolist(), ids.tolist(), supervised.tolist())
sys.exit("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[3, 5] [1, 3] [0, 1, 2, 3, 4] [False, False, True, True, True]\n"

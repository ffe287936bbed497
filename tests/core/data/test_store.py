from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.data.store import IndexWriter, TokenIndex

ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), min_size=1, max_size=20), max_size=30
)


@given(rows=ROWS, flush_rows=st.integers(1, 10))
@settings(deadline=None, max_examples=40)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[tuple[int, bool]]],
    flush_rows: int,
) -> None:
    path = tmp_path_factory.mktemp("index") / "rows.arrow"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stoker.data.store._FLUSH_ROWS", flush_rows)
        with IndexWriter(path) as writer:
            for row in rows:
                ids, supervised = zip(*row, strict=True)
                writer.add(np.array(ids, np.int32), np.array(supervised, np.bool_), 0)
    index = TokenIndex.open(path)
    assert len(index) == len(rows) == writer.num_rows
    assert index.lengths.tolist() == [len(row) for row in rows]
    assert index.supervised_counts.tolist() == [sum(s for _, s in row[1:]) for row in rows]
    for number, row in enumerate(rows):
        ids, supervised = index.row(number)
        assert list(zip(ids.tolist(), supervised.tolist(), strict=True)) == row


def test_an_index_is_read_without_pandas(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "rows.arrow") as writer:
        for length in (3, 5):
            writer.add(np.arange(length, dtype=np.int32), np.arange(length) > 1, 0)
    program = f"""
import sys
from pathlib import Path
from stoker.data.store import TokenIndex
index = TokenIndex.open(Path({str(tmp_path / "rows.arrow")!r}))
print(index.lengths, *index.row(1), "pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[3 5] [0 1 2 3 4] [False False  True  True  True] False\n"


def test_what_is_read_cannot_be_written() -> None:
    index = TokenIndex.from_rows([([1, 2], [False, True])])
    assert not any(array.flags.writeable for array in (*index.row(0), index.lengths))


def test_dtypes_are_fixed() -> None:
    index = TokenIndex.from_rows([([1, 2], [False, True])])
    ids, supervised = index.row(0)
    assert (ids.dtype, supervised.dtype) == (np.int32, np.bool_)


def test_rows_out_of_range_are_refused() -> None:
    index = TokenIndex.from_rows([([1, 2], [False, True])])
    for number in (-1, 1):
        with pytest.raises(IndexError, match="of an index of 1"):
            index.row(number)


def test_source_sizes_count_sources_that_have_no_row_left(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "a.arrow", num_sources=4) as writer:
        for source in (0, 2, 2):
            writer.add(np.array([1, 2], np.int32), np.ones(2, np.bool_), source)
    assert TokenIndex.open(tmp_path / "a.arrow").source_sizes == [1, 0, 2, 0]
    rows = [([1, 2], [True, True])] * 3
    assert TokenIndex.from_rows(rows, sources=[0, 0, 1]).source_sizes == [2, 1]


def test_ids_and_mask_must_be_of_one_length() -> None:
    with pytest.raises(ValueError, match="one length"):
        TokenIndex.from_rows([([1, 2], [True])])


def test_a_file_that_was_not_finished_does_not_open(tmp_path: Path) -> None:
    def write_and_fail() -> None:
        with IndexWriter(tmp_path / "a.arrow") as writer:
            writer.add(np.array([1, 2], np.int32), np.ones(2, np.bool_), 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    with pytest.raises((OSError, ValueError)):
        TokenIndex.open(tmp_path / "a.arrow")

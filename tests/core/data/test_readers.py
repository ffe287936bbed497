from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stoker.data.problems import DataError
from stoker.data.readers import DATA_SUFFIXES, read_file


def _read(path: Path, content: str | bytes) -> list[Any]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = read_file(path)
    found = [row for _, row in rows]
    assert len(rows) == len(found), "progress needs the number before the rows"
    return found


def test_every_kind_gives_the_strings_that_were_written(tmp_path: Path) -> None:
    # Each of these is something else to a reader that guesses types.
    values = ["2024-01-01", "007", "NA", "", "two\nlines", "null", "é \U0001f525"]
    rows = [{"text": value} for value in values]
    quoted = "".join(f'"{value}"\n' for value in values)
    contents: dict[str, str] = {
        ".jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        ".ndjson": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        ".json": json.dumps(rows),
        ".csv": "text\n" + quoted,
        ".tsv": "text\n" + quoted,
    }
    for suffix, content in contents.items():
        assert _read(tmp_path / f"data{suffix}", content) == rows, suffix
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    assert [row for _, row in read_file(tmp_path / "data.parquet")] == rows
    assert set(DATA_SUFFIXES) == {*contents, ".parquet", ".txt"}


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    text = "One.\n\n  Two.\n"
    assert _read(tmp_path / "a.txt", text) == [{"text": text}]


def test_json_with_a_row_on_each_line_is_read_too(tmp_path: Path) -> None:
    assert _read(tmp_path / "a.json", '{"text":"a"}\n{"text":"b"}\n') == [{"text": "a"}, {"text": "b"}]


def test_rows_may_have_different_columns_and_types(tmp_path: Path) -> None:
    rows: list[Any] = [{"a": {"x": 1}}, {"a": {"y": "s"}, "b": [1, "2", None]}]
    assert _read(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))) == rows


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    for name, content in {
        "a.jsonl": b'{"text": "a"}\n',
        "a.json": b'[{"text": "a"}]',
        "a.csv": b"text\na\n",
        "a.txt": b"a",
    }.items():
        assert _read(tmp_path / name, b"\xef\xbb\xbf" + content) == [{"text": "a"}]


def test_places_are_lines_where_rows_are_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert [place for place, _ in read_file(tmp_path / "a.jsonl")] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a"}\n', r"a\.jsonl, line 2, column 5: Expecting ':'"),
        ("a.jsonl", b'{"a": "\xe9"}\n', r"a\.jsonl, line 1: not UTF-8"),
        ("a.jsonl", b"\n\n", r"a\.jsonl: there is no row"),
        ("a.json", b'[{"a": 1},\n}]', r"a\.json, line 2, column 1"),
        ("a.json", b"[]", r"a\.json: there is no row"),
        ("a.csv", b"a,b\n1,2\n3\n", r"a\.csv, row 2: not as many cells"),
        ("a.csv", b"a\n1,2\n", r"a\.csv, row 1: not as many cells"),
        ("a.csv", b'a\n"x\n', r"a\.csv, line .*: unexpected end of data"),
        ("a.csv", b"a\n\xe9\n", r"a\.csv: not UTF-8"),
        ("a.txt", b"\xe9", r"a\.txt: not UTF-8"),
        ("a.parquet", b"no", r"a\.parquet: cannot be read"),
    ],
)
def test_a_broken_file_is_named_with_its_place(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _read(tmp_path / name, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: cannot be read"):
        read_file(tmp_path / "gone.jsonl")

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stoker.data.problems import DataError, RowError
from stoker.data.readers import DATA_SUFFIXES, open_file


def _read(path: Path, content: str | bytes) -> list[Any]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = open_file(path)
    found = [row for _, row, _ in rows]
    assert rows.count(lambda: None) == len(found), "progress needs the number before the rows"
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
    assert [row for _, row, _ in open_file(tmp_path / "data.parquet")] == rows
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
    assert [place for place, _, _ in open_file(tmp_path / "a.jsonl")] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("name", "content", "place", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a"}\n', "line 2", "no JSON: Expecting ':' delimiter (column 5)"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', "line 2", "not UTF-8: invalid continuation byte"),
        ("a.csv", b"a,b\n1,2\n3\n", "row 2", "1 cells where the header has 2"),
        ("a.csv", b"a\n1\n1,2\n", "row 2", "2 cells where the header has 1"),
    ],
)
def test_a_broken_row_is_a_value_among_the_others(
    tmp_path: Path, name: str, content: bytes, place: str, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    good, bad = open_file(tmp_path / name)
    assert isinstance(good.row, dict)
    assert isinstance(bad.row, RowError)
    assert (bad.place, bad.row.message) == (place, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"a": 1},\n}]', r"a\.json, line 2, column 1: no JSON: expecting value"),
        ("a.json", b'[{"a": 1}\n{"a": 2}]', r"line 2, column 1: no JSON: expected ',' or '\]'"),
        ("a.json", b'[{"a": 1},\n\n{"a": "b]', r"line 3, column 7: .*unterminated string"),
        ("a.json", b"[1] 2", r"line 1, column 5: .*more text after the end"),
        ("a.json", b"[1", r"line 1, column 3: .*expected ',' or '\]'"),
        ("a.json", b"[", r"line 1, column 2: "),
        ("a.json", b'["\xe9"]', r"a\.json, line 1: not UTF-8"),
        ("a.csv", b'a\n"x\n', r"a\.csv, line .*: unexpected end of data"),
        ("a.csv", b"a\nb\n\xe9\n", r"a\.csv, line 3: not UTF-8"),
        ("a.csv", b"a,b,a\n1,2,3\n", r"a\.csv, line 1: two columns are called 'a'"),
        ("a.txt", b"a\n\xe9", r"a\.txt, line 2: not UTF-8"),
        ("a.parquet", b"no", r"a\.parquet: cannot be read"),
    ],
)
def test_a_broken_file_is_named_with_its_place(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _read(tmp_path / name, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b"\n\n"), ("a.json", b"[ ]\n"), ("a.json", b" "), ("a.csv", b"a,b\n"), ("a.txt", b"")],
)
def test_a_file_without_rows_has_none(tmp_path: Path, name: str, content: bytes) -> None:
    assert _read(tmp_path / name, content) == []


def test_a_long_list_is_parsed_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": "x" * (7 * i % 50), "n": [10**i, -1.5e3, None, True]} for i in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1) + "\n")
    for size in (1, 2, 3, 17, 10**6):
        monkeypatch.setattr("stoker.data.json_rows._CHUNK_CHARACTERS", size)
        assert [row for _, row, _ in open_file(tmp_path / "a.json")] == rows
    monkeypatch.setattr("stoker.data.json_rows._CHUNK_CHARACTERS", 5)
    (tmp_path / "b.json").write_text(json.dumps([*rows, 1], indent=1)[:-3] + "nope]")
    with pytest.raises(DataError, match=r"b\.json, line (\d+), column 2") as caught:
        list(open_file(tmp_path / "b.json"))
    line = int(caught.value.message.partition("line ")[2].partition(",")[0])
    assert (tmp_path / "b.json").read_text().splitlines()[line - 1] == " nope]"


def test_a_mistake_at_the_start_of_a_long_list_is_told_without_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoker.data.json_rows._CHUNK_CHARACTERS", 100)
    (tmp_path / "a.json").write_text('[{"a" 1},' + '{"a": 1},' * 10_000 + "\xff")
    with pytest.raises(DataError, match="line 1, column 7: no JSON: expecting ':' delimiter"):
        list(open_file(tmp_path / "a.json"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("gone.jsonl", "gone.json", "gone.csv", "gone.txt", "gone.parquet"):
        with pytest.raises(DataError, match=rf"{name}: cannot be read"):
            open_file(tmp_path / name).count(lambda: None)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_counting_a_long_file_can_be_interrupted(tmp_path: Path, name: str) -> None:
    rows = [{"text": "x"}] * 5000
    contents = {
        "a.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "a.json": json.dumps(rows),
        "a.csv": "text\n" + "x\n" * 5000,
    }
    (tmp_path / name).write_text(contents[name])

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_file(tmp_path / name).count(stop)

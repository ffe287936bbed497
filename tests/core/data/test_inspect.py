"""What `stoker check` sees in data files, at their beginning and in all of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stoker.data import inspect
from stoker.data.bad_rows import BadRowPolicy
from stoker.data.inspect import Inspected, inspect_source
from stoker.data.problems import DataError

REFUSE = BadRowPolicy()


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def look(path: Path, data_format: Any = "text", *, whole: bool = False, **policy: Any) -> Inspected:
    return inspect_source(path, data_format, None, BadRowPolicy(**policy), whole=whole)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", lines({"text": "a"}) + b'{"text": \n', r"1 of .*2 rows .*: line 2: no JSON"),
        ("a.jsonl", lines({"text": "a"}) + b'{"text": "\xe9"}\n', r"line 2: not UTF-8"),
        ("a.jsonl", lines({"txt": "a"}, {"txt": "b"}), r"2 of .* columns found: txt"),
        ("a.jsonl", b"\n \n", r"there is no row in it"),
        ("a.json", b"[]", r"there is no row in it"),
        ("a.json", b'[{"text": "a"},\n {"text" "b"}]', r"line 2, column 10: no JSON"),
        ("a.json", b'{\n "text": "a"\n}', r"3 of (the first )?3 rows .*: line 1: no JSON"),
        ("a.csv", b"text,more\na,b\nc\n", r"row 2: 1 cells where the header has 2"),
        ("a.csv", b"text\na\n\xe9\n", r"line 3: not UTF-8"),
        ("a.tsv", b"text\tb\n", r"there is no row in it"),
        ("a.txt", b"a\n\xff", r"line 2: not UTF-8"),
        ("a.parquet", b"PAR1....", r"a\.parquet: (no Parquet file|cannot be read)"),
        ("a.parquet", b"", r"a\.parquet: (no Parquet file|cannot be read)"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(
    tmp_path: Path, name: str, content: bytes, message: str, whole: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        look(tmp_path / name, whole=whole)


@pytest.mark.parametrize("whole", [False, True])
def test_good_files_of_every_kind_are_read(tmp_path: Path, whole: bool) -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows))
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "c.csv").write_text("text\na\nb\n")
    (tmp_path / "d.txt").write_text("a\nb\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    found = look(tmp_path, whole=whole)
    # Without pyarrow, which `check` does without, nobody knows the rows of a Parquet file.
    assert (found.num_files, found.num_rows, found.notes) == (5, 9 if whole else 7, [])


def test_an_unknown_role_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    chats = [{"messages": [{"role": role, "content": "hi"}]} for role in ("user", "asistant")]
    (tmp_path / "a.jsonl").write_bytes(lines(*chats))
    with pytest.raises(DataError, match=r"line 2: .*, not 'asistant'") as caught:
        look(tmp_path / "a.jsonl", "messages")
    assert "Did you mean 'assistant'?" in caught.value.hint


def test_columns_of_another_format_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"instruction": "a", "output": "b"}))
    with pytest.raises(DataError) as caught:
        look(tmp_path / "a.jsonl", "completion")
    assert 'These are the columns of format = "alpaca".' in caught.value.hint


def test_only_the_beginning_is_read_unless_all_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "BEGINNING_BYTES", 1000)
    good = {"text": "a" * 50}
    for suffix, content in {
        "jsonl": lines(*[good] * 100) + b"broken\n",
        "json": json.dumps([good] * 100).encode()[:-1] + b", broken]",
        "csv": b"text\n" + b"aaaa\n" * 1000 + b"a,b\n",
        "txt": b"a" * 100_000 + b"\xff",
    }.items():
        file = tmp_path / f"a.{suffix}"
        file.write_bytes(content)
        assert 0 < look(file).num_rows < 300, suffix
        with pytest.raises(DataError):
            look(file, whole=True)


def test_of_further_files_the_first_row_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "BEGINNING_BYTES", 100)
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(lines(*[{"text": "x" * 40}] * 50))
    assert look(tmp_path).num_rows == 2 + 1 + 1
    (tmp_path / "c.jsonl").write_bytes(lines({"txt": "x"}))
    with pytest.raises(DataError, match=r"c\.jsonl line 1: column 'text' is missing"):
        look(tmp_path)


def test_rows_that_may_be_skipped_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(*[{"text": "a"}] * 9, {"txt": "b"}))
    (note,) = look(tmp_path / "a.jsonl", skip=True, max_share=0.1).notes
    assert note == (
        "1 of the first 10 rows cannot be used and are skipped: line 10: column 'text' is missing; "
        "columns found: txt"
    )
    (note,) = look(tmp_path / "a.jsonl", skip=True, max_share=0.1, whole=True).notes
    assert note.startswith("1 of 10 rows cannot be used and are skipped: line 10: ")


def test_the_share_of_bad_rows_counts_where_all_are_read(tmp_path: Path) -> None:
    """Bad rows may all be at the beginning."""
    bad = [{"txt": "b"}] * 150
    (tmp_path / "a.jsonl").write_bytes(lines(*bad, *[{"text": "a"}] * 19_850))
    for whole in (False, True):
        (note,) = look(tmp_path / "a.jsonl", skip=True, max_share=0.01, whole=whole).notes
        assert note.startswith("150 of ")
    assert look(tmp_path / "a.jsonl", skip=True, max_share=0.001).notes
    with pytest.raises(DataError, match=r"150 of 20,000 rows .* \(at most 0.1% may be"):
        look(tmp_path / "a.jsonl", skip=True, max_share=0.001, whole=True)


def test_a_beginning_without_a_good_row_says_enough(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(*[{"txt": "b"}] * 200))
    with pytest.raises(DataError, match="200 of the first 200 rows cannot be used"):
        look(tmp_path / "a.jsonl", skip=True, max_share=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"{}", mtime=0), "is compressed \\(gzip\\)"),
        (b'[{"text": "a"}]\n', "a row must be a table of columns, not a list"),
        (b'[\n{"text": "a"},\n', "3 of|2 of"),
        (b'{"text": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
        (b'{"text": ' + b"[" * 5000 + b"}", "no JSON"),
    ],
)
def test_what_is_no_row_at_all_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        look(tmp_path / "a.jsonl")


def test_a_line_without_an_end_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoker.data.json_rows.LONGEST_ROW", 1000)
    monkeypatch.setattr("stoker.data.readers.LONGEST_ROW", 1000)
    (tmp_path / "a.jsonl").write_bytes(lines({"text": "a"}) + b'[{"text": "a"},' * 1000)
    with pytest.raises(DataError, match="line 2: longer than"):
        look(tmp_path / "a.jsonl")
    (tmp_path / "a.csv").write_bytes(b'text\na\n"b\n' + b"a\n" * 1000)
    with pytest.raises(DataError, match="field larger than field limit"):
        look(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": ["user"], "content": "x"}]},
        {"messages": [{"role": "user", "content": "x", "weight": [1]}]},
        {"messages": [{"role": "user", "content": "x"}], "tools": "[" * 100_000},
        {"messages": [{"role": "user", "content": "x", "tool_calls": [[]]}]},
        {"messages": {"role": "user"}},
        {"messages": [None]},
        {"a\nb": 1},
    ],
)
def test_values_of_any_shape_are_refused_in_one_line(tmp_path: Path, row: Any) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(row))
    with pytest.raises(DataError, match="1 of the first 1 rows cannot be used") as caught:
        look(tmp_path / "a.jsonl", "messages")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400
    (tmp_path / "b.jsonl").write_bytes(lines({"conversations": [{"from": row, "value": "x"}]}))
    with pytest.raises(DataError, match="from must be one of"):
        look(tmp_path / "b.jsonl", "sharegpt")


def test_files_left_out_of_a_split_are_told(tmp_path: Path) -> None:
    for name in ("train-0", "test", "extra"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines({"text": "a"}))
    found = look(tmp_path)
    assert found.num_files == 1
    (note,) = found.notes
    assert note.startswith("1 of 3 files are left out, such as extra.jsonl")


def test_linked_folders_are_read_and_circles_are_not(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "real/inner/a.jsonl").write_bytes(lines({"text": "a"}))
    (tmp_path / "data/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/inner/up").symlink_to(tmp_path / "real")
    assert look(tmp_path / "data").num_files == 1

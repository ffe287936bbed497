"""The format of data is guessed from the columns of its first row, or refused with all formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest
from pyarrow import parquet

from stoker.errors import UsageError
from stoker.recipe.schema import DataFormat
from stoker.scaffold.guess import guess_format

ROWS = {
    "text": {"text": "a"},
    "completion": {"prompt": "a", "completion": "b", "id": 3},
    "alpaca": {"instruction": "a", "input": "b", "output": "c"},
    "messages": {"messages": [{"role": "user", "content": "a"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}]},
}


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize("name", get_args(DataFormat))
def test_each_format_is_known_by_its_columns(tmp_path, name):
    assert guess_format(write(tmp_path / "rows.jsonl", ROWS[name])) == name


def test_columns_of_a_table_with_a_header_are_known(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion\na,b\n")
    assert guess_format(path) == "completion"


def test_parquet_is_looked_into(tmp_path):
    parquet.write_table(pa.Table.from_pylist([ROWS["alpaca"]]), tmp_path / "rows.parquet")
    assert guess_format(tmp_path / "rows.parquet") == "alpaca"


def test_text_files_and_folders_of_them_are_text(tmp_path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("Once upon a time.")
    assert guess_format(tmp_path / "books" / "a.txt") == "text"
    assert guess_format(tmp_path / "books") == "text"


def test_a_folder_is_judged_by_its_training_files(tmp_path):
    write(tmp_path / "rows" / "test.jsonl", ROWS["text"])
    write(tmp_path / "rows" / "train.jsonl", ROWS["messages"])
    assert guess_format(tmp_path / "rows") == "messages"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"question": 1, "answer": 2}, r"\(question, answer\) fit no format"),
        ({}, r"\(\) fit no format"),
        (ROWS["text"] | ROWS["messages"], r"\(text, messages\) fit text and messages"),
    ],
)
def test_columns_of_no_format_or_of_several_are_refused_with_all_formats(tmp_path, row, found):
    with pytest.raises(UsageError, match=found) as caught:
        guess_format(write(tmp_path / "rows.jsonl", row))
    assert all(name in caught.value.hint for name in get_args(DataFormat))
    assert "alpaca (instruction and output)" in caught.value.hint


def test_of_several_the_preferred_is_taken(tmp_path):
    path = write(tmp_path / "rows.jsonl", ROWS["text"] | ROWS["messages"])
    assert guess_format(path, "text") == "text"
    with pytest.raises(UsageError):
        guess_format(path, "alpaca")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", "", "no row in it"),
        ("rows.jsonl", "[1, 2]\n", "line 1: no row"),
        ("rows.jsonl", "{not json\n", "line 1"),
        ("rows.doc", "x", "unknown kind of file"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_usage(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        guess_format(tmp_path / name)

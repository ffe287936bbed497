from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from stoker.data.digests import file_digest
from stoker.data.files import find_files
from stoker.data.problems import DataError
from stoker.data.sources import PluginSource, resolve_source
from stoker.recipe.schema import DataSource


def _source(path: Path | str, **values: Any) -> DataSource:
    return DataSource.model_validate({"path": str(path)} | values)


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{"text": "a"}\n')


def _names(root: Path, split: str | None = None) -> list[str]:
    return [str(file.relative_to(root)) for file in find_files(root, split).files]


def test_a_folder_without_split_names_is_taken_whole(tmp_path: Path) -> None:
    _touch(tmp_path, "b.jsonl", "a.parquet", "more/c.csv")
    _touch(tmp_path, "README.md", ".hidden.jsonl", ".git/x.json", "dataset_infos.json")
    assert _names(tmp_path) == ["a.parquet", "b.jsonl", "more/c.csv"]


def test_a_folder_with_split_names_gives_train_unless_told(tmp_path: Path) -> None:
    _touch(tmp_path, "train-00000.jsonl", "valid.jsonl", "test/x.jsonl", "other.jsonl")
    assert _names(tmp_path) == ["train-00000.jsonl"]
    assert _names(tmp_path, "validation") == ["valid.jsonl"]
    assert _names(tmp_path, "eval") == ["valid.jsonl"]
    assert _names(tmp_path, "test") == ["test/x.jsonl"]
    assert "1 of 4 files are used" in find_files(tmp_path, None).notes[0]


def test_a_split_word_counts_only_as_a_word(tmp_path: Path) -> None:
    _touch(tmp_path, "trains.jsonl", "contest.jsonl")
    assert len(_names(tmp_path)) == 2


def test_a_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    _touch(tmp_path, "train.jsonl", "dev.jsonl")
    with pytest.raises(DataError, match="no file of split 'test'; splits found: train, validation"):
        find_files(tmp_path, "test")


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("/nowhere/x.jsonl", {"format": "text"}, "no such file or directory"),
        ("./nowhere", {"format": "text"}, "no such file or directory"),
        ("rows.jsonl", {"format": "text"}, "no such file or directory"),
        ("demo:docstring", {}, r"no plugin of this recipe provides it.*'demo:docstrings'"),
        ("other:rows", {}, r"\[plugins.other\]"),
        ("demo:docstrings", {"format": "text"}, "the recipe says format 'text', its plugin"),
    ],
)
def test_a_source_that_cannot_be_found_says_what_to_do(
    path: str, values: dict[str, Any], message: str
) -> None:
    known = {"demo:docstrings": PluginSource("messages", lambda split: [])}
    with pytest.raises(DataError) as caught:
        resolve_source(_source(path, **values), known)
    assert re.search(message, str(caught.value))


def test_files_need_a_format(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jsonl")
    with pytest.raises(DataError, match="format is not stated"):
        resolve_source(_source(tmp_path / "a.jsonl"), {})


def test_an_unknown_kind_of_file_names_the_known_ones(tmp_path: Path) -> None:
    _touch(tmp_path, "a.docx")
    with pytest.raises(DataError, match=r"unknown kind.*\.jsonl"):
        resolve_source(_source(tmp_path / "a.docx", format="text"), {})
    with pytest.raises(DataError, match="no data file in it"):
        resolve_source(_source(tmp_path, format="text"), {})


def test_a_single_file_has_no_other_split(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jsonl")
    with pytest.raises(DataError, match="no split 'test'"):
        resolve_source(_source(tmp_path / "a.jsonl", format="text", split="test"), {})


def test_a_plugin_is_asked_for_the_split_the_recipe_names() -> None:
    source = PluginSource("text", lambda split: [{"text": split}])
    rows = {}
    for split in (None, "eval"):
        resolved = resolve_source(_source("a:b", split=split), {"a:b": source})
        rows[split] = [row for _, row, _ in resolved.parts[0].open()]
    assert rows == {None: [{"text": "train"}], "eval": [{"text": "eval"}]}


def test_rows_a_plugin_cannot_mean_are_named() -> None:
    source = PluginSource("text", lambda split: [{"text": "a"}, {"text": b"b"}])
    with pytest.raises(DataError, match="a:b, row 2: a plugin's rows must be JSON-able"):
        resolve_source(_source("a:b"), {"a:b": source})


def test_digests_follow_content_not_names(tmp_path: Path) -> None:
    for name, content in {"a": "x", "b": "x", "c": "y"}.items():
        (tmp_path / name).write_text(content)
    same, also, other = (file_digest(tmp_path / name) for name in "abc")
    assert same == also != other


def test_a_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("one")
    monkeypatch.setattr("stoker.data.digests._SETTLED_SECONDS", -1.0)
    first = file_digest(file)
    reads: list[Path] = []
    read = "stoker.data.digests._read_digest"
    monkeypatch.setattr(read, lambda path, tick: reads.append(path) or "read")
    assert (file_digest(file), reads) == (first, [])
    file.write_text("two")
    assert (file_digest(file), reads) == ("read", [file])


def test_a_file_that_just_changed_is_not_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("one")
    first = file_digest(file)
    times = file.stat()
    file.write_text("two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_digest(file) != first
    assert not (cache / "digests").exists()

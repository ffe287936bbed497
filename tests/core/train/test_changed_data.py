"""A run does not go on with other rows than it began with."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.testing import tiny_fit, write_tiny_data

MORE = ["train.steps=6"]


def change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other rows in the training file; the test kit would write the same again."""
    write_tiny_data(folder / "train.jsonl", 7)
    monkeypatch.setattr("stoker.testing.fit.write_tiny_data", lambda path, count=0: path)


def test_other_rows_under_a_checkpoint_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny_fit(tmp_path)
    change(tmp_path, monkeypatch)
    with pytest.raises(
        UsageError, match=r"content of data\.train\.0 has changed since step-00000003"
    ) as caught:
        tiny_fit(tmp_path, {}, MORE, directory=first.directory)
    assert "--fresh" in caught.value.hint


def test_the_same_rows_are_taken_whatever_else_was_changed(tmp_path: Path) -> None:
    first = tiny_fit(tmp_path)
    rest = tiny_fit(tmp_path, {}, [*MORE, "train.log_every=2"], directory=first.directory)
    assert rest.outcome.step == 6


def test_a_recipe_that_names_other_rows_was_allowed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny_fit(tmp_path)
    change(tmp_path, monkeypatch)
    rest = tiny_fit(tmp_path, {}, [*MORE, "data.sequence_length=64"], directory=first.directory)
    assert rest.outcome.step == 6

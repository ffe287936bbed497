"""`train.micro_batch_size = "auto"` in a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import DoesNotFitError
from stoker.plan import automatic as planned
from stoker.testing import tiny_fit
from stoker.train.automatic import FACT, MOST_TRIES, largest_rows, largest_that_works
from stoker.train.peaks import forget_peak, most_resident
from stoker.train.state import State

WORK = Path(__file__).parents[2].joinpath("fit_work.py").as_posix()
AUTO = 'train.micro_batch_size="auto"'


@given(batch_size=st.integers(1, 300), ranks=st.integers(1, 9), data=st.data())
def test_the_search_ends_at_something_that_works(
    batch_size: int, ranks: int, data: st.DataObject
) -> None:
    sizes = planned.even_sizes(batch_size, ranks)
    guess = data.draw(st.sampled_from(sizes))
    most = data.draw(st.integers(0, max(sizes) + 1))
    tried: list[int] = []

    def works(rows: int) -> bool:
        tried.append(rows)
        return rows <= most

    found = largest_that_works(sizes, guess, works)
    assert len(tried) <= MOST_TRIES
    assert len(set(tried)) == len(tried)
    if most == 0:
        assert found is None
    else:
        assert found is not None
        assert found <= most
        assert found in tried
    if guess <= most and found is not None:
        assert found >= guess


def test_a_planned_number_that_works_is_kept_but_for_what_works_above_it() -> None:
    sizes = planned.even_sizes(16, 1)
    assert sizes == [16, 8, 6, 4, 3, 2, 1]
    assert largest_that_works(sizes, 4, lambda rows: rows <= 5) == 4
    assert largest_that_works(sizes, 4, lambda rows: rows <= 8) == 8
    assert largest_that_works(sizes, 16, lambda rows: rows <= 3) == 3


def test_the_number_is_tried_out_kept_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["train.batch_size=6", "train.steps=3"]
    explicit = tiny_fit(tmp_path / "three", {}, [*overrides, "train.micro_batch_size=3"])
    monkeypatch.setattr("stoker.plan.plan.useful_on_cpu", lambda sizes, tokens: [3, 2, 1])
    fit = tiny_fit(tmp_path / "auto", {}, [*overrides, AUTO])
    assert fit.run.micro_batch_size == 3
    assert fit.losses == explicit.losses
    notes = [each["message"] for each in fit.of_kind("note")]
    assert 'train.micro_batch_size = "auto": 3 rows tried out, as planned' in notes
    assert fit.directory.read_record().facts[FACT]["rows"] == 3

    monkeypatch.setattr("stoker.plan.plan.useful_on_cpu", lambda sizes, tokens: [1])
    again = tiny_fit(tmp_path / "auto", {}, [*overrides, "train.steps=4", AUTO], directory=fit.directory)
    assert again.run.micro_batch_size == 3
    assert "as in the attempt before" in again.of_kind("note")[-1]["message"]


def test_where_nothing_works_the_error_names_what_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(state: object) -> None:
        raise MemoryError

    monkeypatch.setattr("stoker.train.automatic._try", fails)
    with pytest.raises(DoesNotFitError, match="ran out of memory at the longest of 1 row") as caught:
        tiny_fit(tmp_path, {}, [AUTO])
    assert "[plugins." in str(caught.value)
    assert int(caught.value.exit_code) == 3


def test_a_try_that_was_too_large_does_not_count_against_a_smaller_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def takes_64_mib_a_row(state: State) -> None:
        torch.ones(state.run.micro_batch_size << 26, dtype=torch.uint8)

    forget_peak()
    limit = most_resident() + (300 << 20)
    monkeypatch.setattr("stoker.train.automatic._try", takes_64_mib_a_row)
    monkeypatch.setattr("stoker.train.automatic.host_capacity", lambda ranks: limit)
    fit = tiny_fit(tmp_path, {}, ["train.batch_size=8", "train.steps=1", AUTO])
    assert fit.run.micro_batch_size == 4
    assert any("4 rows tried out, where 8 were" in each["message"] for each in fit.of_kind("note"))


def test_what_is_tried_is_laid_out_as_a_plugin_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def note(state: State) -> None:
        rows = largest_rows(state)
        tried.append(int(sum(state.run.index.lengths[row] for row in rows)))

    monkeypatch.setattr("stoker.train.automatic._try", note)
    tiny_fit(tmp_path, {"packing": {"tokens": 130}}, ["train.batch_size=8", "train.steps=1", AUTO])
    assert tried
    assert max(tried) <= 130


def test_two_ranks_settle_on_one_number_and_train_as_with_it(
    tmp_path: Path, rank_pool: Callable[[int], Any]
) -> None:
    overrides = ["train.batch_size=6", "train.steps=2"]
    pool = rank_pool(2)
    auto = pool.call(f"{WORK}:fit", folder=str(tmp_path / "a"), overrides=[*overrides, AUTO])
    three = pool.call(
        f"{WORK}:fit",
        folder=str(tmp_path / "b"),
        overrides=[*overrides, "train.micro_batch_size=3"],
    )
    assert any("3 rows tried out, as planned" in note for note in auto[0]["notes"])
    assert [each["losses"] for each in auto] == [each["losses"] for each in three]
    assert [each["norms"] for each in auto] == [each["norms"] for each in three]

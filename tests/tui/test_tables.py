"""Columns of numbers by step."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_tui.models.tables import StepTable


def row(step, attempt=1, t=None, **values):
    t = float(step) if t is None else t
    return {"kind": "step", "step": step, "attempt": attempt, "t": t, "tokens": step * 10, **values}


def content(table):
    columns = {name: [repr(value) for value in table.column(name)] for name in table.names}
    return [list(table.axis(axis)) for axis in ("step", "tokens", "time")], columns, table.late_rows


def test_rows_become_columns_of_one_length():
    table = StepTable()
    table.append([row(1, loss=2.5), row(2, loss=2.25, grad_norm=1.0)])
    table.append([row(3, loss=2.0)])
    assert table.names == ("loss", "grad_norm")
    assert list(table.column("loss")) == [2.5, 2.25, 2.0]
    assert [math.isnan(value) for value in table.column("grad_norm")] == [True, False, True]
    assert list(table.axis("tokens")) == [10, 20, 30]
    assert (len(table), table.last_step, table.latest("loss"), table.tokens_at(2)) == (3, 3, 2.0, 20)


def test_columns_keep_their_identity_when_they_grow_and_are_cut():
    table = StepTable()
    table.append([row(1, loss=2.5), row(2, loss=2.25)])
    loss, steps = table.column("loss"), table.axis("step")
    table.supersede(2, 1)
    table.append([row(2, attempt=2, loss=3.0)])
    assert table.column("loss") is loss
    assert table.axis("step") is steps
    assert list(loss) == [2.5, 3.0]


@pytest.mark.parametrize("value", [None, "high", [1.0], {}])
def test_what_is_no_number_is_a_gap(value):
    table = StepTable()
    table.append([row(1, loss=1.0), row(2, loss=value), row(3, loss=3.0)])
    assert [math.isnan(loss) for loss in table.column("loss")] == [False, True, False]


@pytest.mark.parametrize(
    "loss",
    [
        {"loss": None, "non_finite": ["loss"]},
        {"loss": math.nan},
        {"loss": -math.inf},
        {"loss": 1e300},
        {"loss": 10**400},
    ],
)
def test_what_was_not_finite_is_infinite_in_its_column(loss):
    table = StepTable()
    table.append([row(1, loss=1.0), row(2, **loss)])
    assert list(table.column("loss")) == [1.0, math.inf]
    assert table.latest("loss") == math.inf


@pytest.mark.parametrize("step", [None, "5", -1, 2.5, 2**70, [5]])
def test_a_row_without_a_proper_step_is_left_out(step):
    table = StepTable()
    table.append([row(1, loss=1.0), {"kind": "step", "step": step, "attempt": 1, "loss": 9.0}])
    table.append([row(2, loss=2.0), {"kind": "step", "loss": 9.0}])
    assert list(table.column("loss")) == [1.0, 2.0]


def test_a_later_attempt_supersedes_rows_from_its_first_step_on():
    table = StepTable()
    table.append([row(step, loss=1.0) for step in range(1, 6)])
    table.append([row(step, attempt=2, loss=2.0) for step in range(3, 5)])
    assert list(table.axis("step")) == [1, 2, 3, 4]
    assert list(table.column("loss")) == [1.0, 1.0, 2.0, 2.0]
    assert table.late_rows == 0


def test_rows_that_an_earlier_attempt_still_writes_are_left_out_and_counted():
    table = StepTable()
    table.append([row(1), row(2), row(2, attempt=2), row(3), row(3, attempt=2)])
    assert list(table.axis("step")) == [1, 2, 3]
    assert (table.attempt, table.late_rows) == (2, 1)


def test_two_writers_of_one_attempt_leave_one_row_for_each_step():
    table = StepTable()
    table.append(
        [row(1, loss=1.0), row(2, loss=2.0), row(1, loss=8.0), row(2, loss=9.0), row(3, loss=3.0)]
    )
    assert list(table.axis("step")) == [1, 2, 3]
    assert list(table.column("loss")) == [1.0, 2.0, 3.0]
    assert table.late_rows == 2


def test_time_ascends_although_a_clock_was_set_back():
    table = StepTable()
    table.append([row(1, t=100.0), row(2, t=40.0), row(3, t=None), row(4, t=101.0)])
    table.append([row(5, t=60.0) | {"t": "noon"}])
    assert list(table.axis("time")) == [100.0, 100.0, 100.0, 101.0, 101.0]


def test_revision_tells_every_change():
    table = StepTable()
    table.append([row(1), row(2)])
    grown = table.revision
    table.supersede(2, 1)
    assert 0 < grown < table.revision
    cut = table.revision
    table.append([])
    assert table.revision == cut


def test_of_very_many_metrics_so_many_are_kept_as_can_be_shown():
    table = StepTable()
    table.append([row(1, **{f"metric_{number}": 1.0 for number in range(500)})])
    assert len(table.names) == 64


rows = st.lists(
    st.builds(
        row,
        step=st.integers(0, 12),
        attempt=st.integers(1, 3),
        t=st.floats(0, 100) | st.none(),
        loss=st.floats() | st.none() | st.booleans() | st.text(max_size=2),
        non_finite=st.just(["loss"]) | st.none(),
    ),
    max_size=30,
)


@given(rows=rows, cuts=st.lists(st.integers(0, 30), max_size=6))
def test_any_split_into_calls_gives_the_same_table(rows, cuts):
    whole, split = StepTable(), StepTable()
    whole.append(rows)
    edges = [0, *sorted(cuts), len(rows)]
    for first, last in itertools.pairwise(edges):
        split.append(rows[first:last])
    assert content(split) == content(whole)
    steps = list(whole.axis("step"))
    assert steps == sorted(set(steps))
    times = list(whole.axis("time"))
    assert times == sorted(times)

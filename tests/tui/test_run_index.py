"""The list of runs: every state, damage, what is gone, and that nothing is read twice."""

from __future__ import annotations

import shutil

import pytest

from stoker_tui.models import run_index
from stoker_tui.models.run_index import RunIndex


@pytest.fixture
def index(tmp_path):
    return RunIndex(tmp_path, rest=0.0)


def states_of(index):
    return {row.name: row.state for row in index.rows}


def read_all(index):
    index.refresh()
    while not index.is_complete:
        index.refresh()
    return index.rows


@pytest.mark.parametrize("state", ["done", "failed", "stopped", "preempted"])
def test_an_ended_run_is_a_row_with_all_it_has(tmp_path, written, index, state):
    written.write_run(tmp_path, "a", state, steps=200)
    (row,) = read_all(index)
    assert (row.state, row.step, row.total_steps, row.ranks) == (state, 200, 400, 8)
    assert (row.model, row.method) == ("qwen3-8b", "full fsdp")
    assert row.loss == pytest.approx(1.66, abs=0.2)
    assert row.usd == pytest.approx(200 * written.STEP_SECONDS / 3600 * 8 * 3.99)
    assert row.eta_seconds is None


def test_an_active_run_is_running_while_its_lease_is_held_and_lost_when_not(tmp_path, written, index):
    directory = written.write_run(tmp_path, "a", "running", steps=100)
    with written.at_work(directory):
        (row,) = read_all(index)
        assert row.state == "running"
        assert row.step == 100
        assert row.eta_seconds == pytest.approx(300 * written.STEP_SECONDS, rel=0.1)
    assert index.refresh()
    (row,) = index.rows
    assert (row.state, row.eta_seconds) == ("lost", None)


def test_new_steps_of_an_active_run_are_seen(tmp_path, written, index):
    directory = written.write_run(tmp_path, "a", "running", steps=100)
    with written.at_work(directory):
        read_all(index)
        assert not index.refresh()
        written.append_steps(directory, 101, 110, 400)
        assert index.refresh()
        assert index.rows[0].step == 110


def test_a_resumed_run_shows_its_second_attempt(tmp_path, written, index):
    written.write_run(tmp_path, "a", "done", steps=150, resumed_at=100)
    (row,) = read_all(index)
    assert (row.attempt, row.step) == (2, 150)


def test_a_loss_that_was_not_finite_is_nan(tmp_path, written, index):
    written.write_run(tmp_path, "a", "nan", steps=20)
    (row,) = read_all(index)
    assert str(row.loss) == "nan"
    assert row.note == "the loss is not finite at step 21"
    assert not index.refresh()


def test_runs_come_and_go_while_they_are_listed(tmp_path, written, index):
    assert read_all(index) == ()
    written.write_run(tmp_path, "a", steps=5)
    written.write_run(tmp_path, "b", steps=5, age_seconds=60)
    assert [row.name for row in read_all(index)] == ["a", "b"]
    shutil.rmtree(tmp_path / "a")
    assert index.refresh()
    assert states_of(index) == {"b": "done"}
    shutil.rmtree(tmp_path)
    assert index.refresh()
    assert index.rows == ()
    assert index.problem == ""


@pytest.mark.parametrize(
    "record", ["{", "[]", '{"name": 1}', '{"name": "a", "id": "b", "step": "c"}', None]
)
def test_a_damaged_run_is_a_row_and_may_recover(tmp_path, written, index, record):
    directory = written.write_run(tmp_path, "a", steps=5)
    whole = directory.record_path.read_text()
    if record is None:
        directory.record_path.unlink()
    else:
        directory.record_path.write_text(record)
    (row,) = read_all(index)
    assert (row.state, "run.json" in row.note) == ("damaged", True)
    directory.record_path.write_text(whole)
    index.refresh()
    assert states_of(index) == {"a": "done"}


def test_an_active_run_that_is_deleted_under_our_eyes_does_no_harm(tmp_path, written, index):
    directory = written.write_run(tmp_path, "a", "running", steps=5)
    with written.at_work(directory):
        read_all(index)
        rest = RunIndex(tmp_path, rest=1e9)
        read_all(rest)
        rest.refresh()
        shutil.rmtree(directory.path)
        rest.refresh()
        assert states_of(rest) == {"a": "damaged"}
        index.refresh()
        assert states_of(index) == {}


def test_other_entries_of_the_folder_are_no_runs(tmp_path, written, index):
    written.write_run(tmp_path, "a", steps=5)
    written.write_run(tmp_path, ".draft", steps=5)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert [row.name for row in read_all(index)] == ["a"]
    written.write_run(tmp_path / "notes" / "..", "notes-2", steps=5)
    assert [row.name for row in read_all(index)] == ["a", "notes-2"]


def test_a_folder_that_is_none_says_why(tmp_path):
    (tmp_path / "file").touch()
    index = RunIndex(tmp_path / "file")
    assert not index.refresh()
    assert "cannot be read" in index.problem


def test_what_has_not_changed_is_not_read_again(tmp_path, written, index, monkeypatch):
    for number in range(3):
        written.write_run(tmp_path, f"run-{number}", steps=5)
    read_all(index)
    read = []
    for name in ("read_latest", "read_settings", "read_usd", "_read_record"):
        monkeypatch.setattr(run_index, name, lambda *args, name=name: read.append(name))
    assert not index.refresh()
    assert read == []


def test_what_is_on_the_screen_comes_first(tmp_path, written, index, monkeypatch):
    for number in range(5):
        written.write_run(tmp_path, f"run-{number}", steps=5, age_seconds=number)
    read = []
    real = run_index.read_settings
    monkeypatch.setattr(run_index, "read_settings", lambda each: read.append(each.name) or real(each))
    index.refresh(["run-3"], budget_seconds=10.0)
    assert read[0] == "run-3"
    assert sorted(read) == [f"run-{number}" for number in range(5)]


def test_however_small_the_budget_it_comes_to_an_end(tmp_path, written):
    for number in range(5):
        written.write_run(tmp_path, f"run-{number}", steps=5)
    index = RunIndex(tmp_path, rest=0.0)
    for _ in range(50):
        index.refresh(budget_seconds=0.0)
    assert index.is_complete
    assert all(row.model for row in index.rows)

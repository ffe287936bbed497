"""What one run's files say: whatever state they are in, and however they grow."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker_tui.models.feed import RunFeed


def feed_of(directory, clock=lambda: 0.0):
    feed = RunFeed(directory, clock)
    read_all(feed)
    return feed


def read_all(feed):
    while feed.read():
        pass


def content(feed):
    """All that comes from the events, comparable although NaN is not equal to itself."""
    tables = [
        (list(table.axis("step")), list(table.axis("tokens")), list(table.axis("time")))
        + tuple((name, repr(table.column(name))) for name in table.names)
        for table in (feed.steps, feed.evaluations)
    ]
    return tables, feed.marks, feed.happenings, feed.cost, feed.total_steps


def add(directory, *events):
    with directory.events_path.open("a") as file:
        for event in events:
            file.write(json.dumps({"v": 1, "attempt": 1, "rank": 0, "t": 1e9, **event}) + "\n")


@pytest.mark.parametrize("state", ["preparing", "running", "done", "failed", "stopped", "preempted"])
def test_a_run_of_every_state_can_be_read(written, tmp_path, state):
    directory = written.write_run(tmp_path, "run", state, steps=120, total=400)
    directory.update_record(host="elsewhere")
    feed = feed_of(directory)
    assert (feed.state, feed.problem) == (state, "")
    assert len(feed.steps) == (0 if state == "preparing" else 120)
    assert feed.eta_seconds == pytest.approx(280 * 3.75, rel=0.05) if state == "running" else True


def test_a_run_that_nobody_works_on_any_more_is_lost(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "running", steps=20)
    with written.at_work(directory):
        assert feed_of(directory).state == "running"
    feed = feed_of(directory)
    assert feed.state == "lost"
    assert feed.eta_seconds is None


def test_new_steps_are_taken_in_as_they_come(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "running", steps=20)
    feed = feed_of(directory)
    before = feed.revision
    read_all(feed)
    assert feed.revision == before
    written.append_steps(directory, 21, 25, 400)
    assert feed.read() is False
    assert feed.steps.last_step == feed.step == 25
    assert feed.revision > before


def test_after_a_resume_the_last_attempt_counts(written, tmp_path):
    feed = feed_of(written.write_run(tmp_path, "run", "done", steps=300, resumed_at=155))
    assert list(feed.steps.axis("step")) == list(range(1, 301))
    assert feed.steps.attempt == 2
    kinds = [(mark.kind, mark.step) for mark in feed.marks]
    assert kinds[:4] == [
        ("evaluate", 100),
        ("checkpoint", 100),
        ("preemption", 155),
        ("checkpoint", 145),
    ]
    assert kinds[4] == ("resume", 145)
    assert feed.marks[4].tokens == 145 * 262_144


def test_rows_are_cut_as_soon_as_the_resume_is_written(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "preempted", steps=50)
    feed = feed_of(directory)
    add(directory, {"kind": "resume", "attempt": 2, "step": 40, "checkpoint": "step-00000040"})
    read_all(feed)
    assert feed.steps.last_step == 40


def test_a_loss_that_is_not_finite_is_infinite_and_an_alert(written, tmp_path):
    feed = feed_of(written.write_run(tmp_path, "run", "nan", steps=30))
    assert feed.steps.last_step == 31
    assert feed.steps.column("loss")[-1] == math.inf
    assert [(mark.kind, mark.step) for mark in feed.marks] == [("alert", 31)]
    assert [line.level for line in feed.happenings[-2:]] == ["error", "error"]


def test_evaluations_stand_at_the_tokens_of_training(written, tmp_path):
    feed = feed_of(written.write_run(tmp_path, "run", steps=200, total=200))
    assert list(feed.evaluations.axis("step")) == [100, 200]
    assert list(feed.evaluations.axis("tokens")) == [100 * 262_144, 200 * 262_144]
    assert feed.evaluations.names == ("eval_loss",)


def test_mfu_is_known_for_every_step_of_an_attempt_with_telemetry(written, tmp_path):
    feed = feed_of(written.write_run(tmp_path, "run", steps=30, total=30))
    assert feed.steps.latest("mfu") == pytest.approx(
        0.43 / 70_000 * feed.steps.latest("tokens_per_second"), rel=1e-5
    )


def test_supervised_tokens_a_second_are_those_of_the_latest_step(written, tmp_path):
    directory = written.write_run(tmp_path, "run", steps=30, total=30)
    feed = feed_of(directory)
    expected = 120_000 / feed.steps.latest("step_seconds")
    assert feed.supervised_per_second == pytest.approx(expected, rel=1e-5)
    events = EventWriter(directory.events_path, 2, 0)
    events.write("step", step=21, supervised_tokens=21 * 120_000, step_seconds=1.0)
    events.close()
    feed.read()
    assert feed.supervised_per_second is None  # nothing is known of the step before it


def test_cost_comes_from_events_and_goes_on_in_the_ledger(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "running", steps=100)
    feed = feed_of(directory)
    assert feed.cost.usd == pytest.approx(100 * 3.75 / 3600 * 31.92)
    assert (feed.cost.usd_per_hour, feed.cost.budget_usd) == (31.92, 25.0)
    assert feed.cost.idle_usd == pytest.approx(0.08 * feed.cost.usd)
    last = json.loads(directory.ledger_path.read_text().splitlines()[-1])
    with directory.ledger_path.open("a") as file:
        file.write(json.dumps(last | {"usd": 24.0}) + "\n")
    read_all(feed)
    assert feed.cost.usd == 24.0


def test_while_preparing_progress_tells_how_long_it_takes(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "preparing")
    directory.update_record(host="elsewhere")
    for second in range(3):
        done = {"done": 100 * second, "total": 1000, "unit": "rows", "t": 1e9 + second}
        add(directory, {"kind": "progress", "phase": "tokenising", **done})
    feed = feed_of(directory)
    assert feed.progress["done"] == 200
    assert feed.eta_seconds == pytest.approx(8.0)
    add(directory, {"kind": "state", "state": "running", "step": 0, "total_steps": 10})
    read_all(feed)
    assert feed.progress is None


def test_an_evaluation_between_steps_does_not_change_when_the_run_ends(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "running", steps=20, total=400)
    directory.update_record(host="elsewhere")
    feed = feed_of(directory)
    before = feed.eta_seconds
    for second in range(3):
        add(
            directory,
            {"kind": "progress", "phase": "evaluating", "done": second, "total": 4, "t": second},
        )
    read_all(feed)
    assert feed.progress["done"] == 2
    assert feed.eta_seconds == before


def test_plan_and_grade_are_those_of_plan_json(written, tmp_path):
    directory = written.write_run(tmp_path, "run", steps=10, total=10)
    feed = feed_of(directory)
    assert (feed.plan, feed.grade) == (None, None)
    directory.plan_path.write_text(json.dumps({"v": 1, "fits": True, "grade": {"attempt": 1}}))
    read_all(feed)
    assert (feed.plan["fits"], feed.grade) == (True, {"attempt": 1})
    directory.plan_path.write_text("{")
    read_all(feed)
    assert feed.plan["fits"]
    assert feed.problem.startswith("plan.json cannot be read")


def test_a_directory_that_goes_away_leaves_what_was_known(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "running", steps=20)
    feed = feed_of(directory)
    shutil.rmtree(directory.path)
    read_all(feed)
    assert feed.problem == "the run directory is gone"
    assert (len(feed.steps), feed.record.name) == (20, "run")


def test_an_empty_or_damaged_directory_is_said_to_be_so(tmp_path):
    feed = feed_of(RunDirectory(tmp_path / "none"))
    assert (feed.problem, feed.state, feed.cost, feed.gpus) == (
        "the run directory is gone",
        None,
        None,
        [],
    )
    (tmp_path / "none").mkdir()
    read_all(feed)
    assert feed.problem == "there is no run.json: this is no run"
    (tmp_path / "none" / "run.json").write_text("[]")
    (tmp_path / "none" / "events.jsonl").mkdir()
    read_all(feed)
    assert feed.problem.startswith("run.json cannot be read")


@pytest.mark.parametrize(
    ("key", "value"),
    [("state", []), ("state", "x"), ("step", "5"), ("created", None), ("error", "x"), ("name", {})],
)
def test_a_record_of_other_types_is_damaged_and_the_one_before_counts(written, tmp_path, key, value):
    directory = written.write_run(tmp_path, "run", steps=10)
    feed = feed_of(directory)
    text = json.loads(directory.record_path.read_text())
    directory.record_path.write_text(json.dumps(text | {key: value}))
    read_all(feed)
    assert feed.problem.startswith("run.json cannot be read: ")
    assert (feed.record.name, feed.state) == ("run", "done")


def test_a_file_that_may_not_be_read_is_said_to_be_so(written, tmp_path):
    directory = written.write_run(tmp_path, "run", steps=10)
    directory.events_path.unlink()
    directory.events_path.mkdir()
    feed = feed_of(directory)
    assert "events.jsonl cannot be read" in feed.problem
    directory.events_path.rmdir()
    add(directory, {"kind": "step", "step": 1, "loss": 1.0})
    read_all(feed)
    assert (feed.problem, len(feed.steps)) == ("", 1)


def test_a_replaced_file_is_read_anew_and_said_to_be_replaced(written, tmp_path):
    directory = written.write_run(tmp_path, "run", steps=50)
    other = written.write_run(tmp_path, "other", steps=20)
    feed = feed_of(directory)
    os.replace(other.events_path, directory.events_path)
    read_all(feed)
    assert len(feed.steps) == 20
    assert feed.problem == "events.jsonl was replaced while it was read"


def test_another_run_of_the_same_name_is_read_from_its_beginning(written, tmp_path):
    directory = written.write_run(tmp_path, "run", steps=300, resumed_at=155)
    feed = feed_of(directory)
    before = feed.revision
    shutil.rmtree(directory.path)
    read_all(feed)
    written.write_run(tmp_path, "run", "stopped", steps=50, ranks=2)
    directory.update_record(id="another")
    read_all(feed)
    assert (feed.state, feed.problem, len(feed.steps)) == ("stopped", "", 50)
    assert len(feed.ranks) == len(feed.gpus) == 2
    assert feed.revision > before


def test_two_writers_are_named(written, tmp_path):
    directory = written.write_run(tmp_path, "run", "running", steps=20, resumed_at=10)
    directory.update_record(host="elsewhere")
    feed = feed_of(directory)
    written.append_steps(directory, 21, 22, 400, attempt=1)
    written.append_steps(directory, 21, 21, 400, attempt=2)
    read_all(feed)
    assert feed.steps.last_step == 21
    assert feed.problem == "two processes write the steps of this run"


def test_damaged_lines_are_counted_but_for_one_that_a_crash_may_tear(written, tmp_path):
    directory = written.write_run(tmp_path, "run", steps=10)
    with directory.events_path.open("a") as file:
        file.write('{"kind": "step", "st\n')
    feed = feed_of(directory)
    assert feed.problem == ""
    with directory.events_path.open("a") as file:
        file.write("\x00\x00\n")
    read_all(feed)
    assert feed.problem == "2 lines of events.jsonl are damaged"


KINDS = (
    "state step evaluate checkpoint preemption resume progress cost memory note alert "
    "host gpus gpu rank later"
)
KEYS = (
    "t attempt rank step total_steps tokens loss state error phase done total unit message name bytes "
    "seconds usd leave passed_over checkpoint best_step eval_loss index available wait_seconds mfu "
    "step_seconds tokens_per_second gpu_index reason utilization_percent"
)
proper = st.sampled_from([0, 1, 2, 3, 0.5, "running", "failed", "committed", "saved", {"message": "m"}])
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
keys = st.sampled_from(KEYS.split())
kinds = st.sampled_from(KINDS.split())
events = st.lists(
    st.builds(lambda kind, rest: rest | {"kind": kind}, kinds, st.dictionaries(keys, proper | odd)),
    max_size=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=events)
def test_no_value_whatsoever_is_an_error(written, tmp_path, lines):
    directory = RunDirectory(tmp_path / "odd")
    if not directory.path.exists():
        written.write_run(tmp_path, "odd", "running", steps=4)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    directory.events_path.write_text(text)
    (directory.telemetry_path / f"{written.HOST}.jsonl").write_text(text)
    feed = feed_of(directory)
    assert feed.gpus is not None
    assert [pace.rank for pace in feed.ranks.paces] == sorted(pace.rank for pace in feed.ranks.paces)
    assert all(line.text.isprintable() for line in feed.happenings)
    assert feed.ranks.why or feed.ranks.straggler is None
    assert feed.eta_seconds is None or feed.eta_seconds >= 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_split_of_the_file_into_reads_gives_the_same(written, tmp_path, data):
    whole = RunDirectory(tmp_path / "whole")
    if not whole.path.exists():
        written.write_run(tmp_path, "whole", "nan", steps=60, total=60, resumed_at=25, gpus=False)
        written.write_run(tmp_path, "parts", "nan", steps=60, total=60, resumed_at=25, gpus=False)
        lines = whole.events_path.read_bytes().splitlines(keepends=True)
        lines[7:7] = [b'{"kind": "step", "step": 4, "lo\n', b"\n", b"\xff\xfe\n", b'{"kind": "new"}\n']
        whole.events_path.write_bytes(b"".join(lines))
    bytes_of_it = whole.events_path.read_bytes()
    parts = RunDirectory(tmp_path / "parts")
    parts.events_path.write_bytes(b"")
    cuts = data.draw(st.lists(st.integers(0, len(bytes_of_it)), max_size=6))
    feed = RunFeed(parts, lambda: 0.0)
    edges = [0, *sorted(cuts), len(bytes_of_it)]
    for first, last in itertools.pairwise(edges):
        with parts.events_path.open("ab") as file:
            file.write(bytes_of_it[first:last])
        read_all(feed)
    assert content(feed) == content(feed_of(whole))

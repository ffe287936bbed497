"""What the Watch screen says of a run, read from real files and without a terminal."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from stoker_tui.models.feed import RunFeed
from stoker_tui.models.newest_run import newest_run
from stoker_tui.models.run_changes import possible, resume_options
from stoker_tui.models.styled import plain
from stoker_tui.models.watch_charts import CHARTS, ChartOptions, RunCharts
from stoker_tui.models.watch_cost import NO_PRICE, cost_lines
from stoker_tui.models.watch_happenings import happening_lines
from stoker_tui.models.watch_head import head_groups
from stoker_tui.models.watch_notes import note_lines
from stoker_tui.models.watch_plan import plan_lines
from stoker_tui.models.watch_ranks import host_lines, rank_lines, rank_rows, wait_lines


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def read(directory, now=None):
    """A feed that has read all there is."""
    feed = RunFeed(directory, time.time if now is None else lambda: now)
    while feed.read():
        pass
    return feed


def said(lines):
    return "\n".join(plain(each).rstrip() for each in lines)


def head(feed):
    return "  ".join(plain(group) for group in head_groups(feed))


def test_the_head_says_where_a_live_run_is_and_what_it_costs(tmp_path, written):
    run = written.write_run(tmp_path, "sft-07", "running", steps=200)
    with written.at_work(run):
        words = head(read(run))
    assert words.startswith("sft-07  ● run  attempt 1  step 200/400 50 %  ETA 12:")
    assert "$6.65 of about $13.30 (cap $25.00) at $31.92/h  idle $0.53  MFU 43 %" in words


def test_the_head_of_a_run_that_is_over_says_when_it_ended(tmp_path, written):
    words = head(read(written.write_run(tmp_path, "sft-07", "done")))
    assert words.startswith("sft-07  ✓ done  ended 2026-11-24 06:28  attempt 1  step 400/400 100 %")
    assert "ETA" not in words
    assert "of about" not in words


@pytest.mark.parametrize(
    ("state", "glyph"), [("failed", "✗ fail"), ("preempted", "⚠ preempt"), ("stopped", "■ stop")]
)
def test_each_state_has_a_glyph_and_a_word(tmp_path, written, state, glyph):
    assert glyph in head(read(written.write_run(tmp_path, "sft-07", state, steps=60)))


def test_a_failed_run_says_where_it_failed_and_what_to_do(tmp_path, written):
    notes = said(note_lines(read(written.write_run(tmp_path, "a", "failed", steps=60)), 100))
    assert notes.splitlines() == [
        "✗ rank 1: CUDA out of memory: rank 1 needs 4.1 GB more",
        "Lower train.micro_batch_size.",
        "5 shows logs/attempt-1/rank-1.log",
    ]


def test_a_loss_that_is_not_finite_is_said_and_can_be_gone_past(tmp_path, written):
    feed = read(written.write_run(tmp_path, "a", "nan", steps=60))
    assert "the loss is not finite at step 61" in said(note_lines(feed, 100))
    assert "--skip-batches" in said(note_lines(feed, 100))
    charts = RunCharts(feed)
    charts.refresh("step")
    assert charts.view("loss", ChartOptions()).latest == "not finite"


def test_a_run_that_left_says_why_and_from_where_it_can_go_on(tmp_path, written):
    notes = said(note_lines(read(written.write_run(tmp_path, "a", "preempted", steps=150)), 100))
    assert notes == "aws takes the machine away. R goes on from step-00000100."


def test_a_lost_run_says_when_it_was_last_heard_of(tmp_path, written):
    notes = said(note_lines(read(written.write_run(tmp_path, "a", "lost", steps=60)), 200))
    assert "its processes on gpu-01 are gone, last heard of at 06:04:05." in notes
    assert "nothing was saved" in notes


def test_a_run_that_prepares_shows_how_far_it_is(tmp_path, written):
    run = written.write_run(tmp_path, "a", "preparing", steps=0)
    with written.at_work(run):
        assert "waits for the first word" in said(note_lines(read(run), 80))
        progress = {"v": 1, "t": written.EPOCH, "attempt": 1, "rank": 0, "kind": "progress"}
        progress |= {"phase": "tokenising", "done": 30, "total": 120, "unit": "rows"}
        with run.events_path.open("a") as file:
            file.write(json.dumps(progress) + "\n")
        assert said(note_lines(read(run), 80)).startswith("█████                tokenising 30/120 rows")


def test_the_straggler_is_named_in_words_and_in_its_row(tmp_path, written):
    run = written.write_run(tmp_path, "a", "running", steps=60, slow_rank=2)
    with written.at_work(run):
        feed = read(run, written.EPOCH + 250)
        assert said(note_lines(feed, 100)).startswith("rank 2 is SLOW: waits 0.01 s a step, the others")
    table = said(rank_lines(rank_rows(feed), 100)).splitlines()
    assert table[0].split() == ["rank", "host", "GPU", "util", "GB", "W", "°C", "step", "wait", "note"]
    assert "SLOW throttled" in table[3]
    assert "83!" in table[3]
    assert "r2  0 % SLOW" in said(wait_lines(rank_rows(feed), 40))


def test_the_latest_alert_of_a_live_run_is_said(tmp_path, written):
    run = written.write_run(tmp_path, "a", "running", steps=60)
    alert = {"v": 1, "t": written.EPOCH + 240, "attempt": 1, "rank": 0, "kind": "alert"}
    with run.events_path.open("a") as file:
        file.write(json.dumps(alert | {"message": "the loss has trebled"}) + "\n")
    with written.at_work(run):
        assert said(note_lines(read(run), 80)) == "⚠ 06:04:00 alert: the loss has trebled"


def test_ranks_of_all_hosts_are_in_the_table(tmp_path, written):
    run = written.write_run(tmp_path, "a", "done", steps=60, ranks=2)
    first = (run.telemetry_path / "gpu-01.jsonl").read_text().splitlines()
    rows = [json.loads(each) for each in first]
    for row in rows:
        row["rank"] += 2
    second = run.telemetry_path / "gpu-02.jsonl"
    second.write_text("".join(json.dumps(row) + "\n" for row in rows))
    feed = read(run)
    table = said(rank_lines(rank_rows(feed), 100)).splitlines()
    assert [each.split()[:3] for each in table[1:]] == [
        ["0", "gpu-01", "0"], ["1", "gpu-01", "1"], ["2", "gpu-02", "0"], ["3", "gpu-02", "1"],
    ]  # fmt: skip
    assert "gpu-02" in said(rank_lines(rank_rows(feed), 60))
    assert [each.split()[1] for each in said(host_lines(feed.hosts)).splitlines()] == [
        "gpu-01",
        "gpu-02",
    ]


def test_a_rank_that_says_nothing_for_long_is_named(tmp_path, written):
    run = written.write_run(tmp_path, "a", "running", steps=60, ranks=2)
    with written.at_work(run):
        feed = read(run, written.EPOCH + 20 + 60 * written.STEP_SECONDS + 90)
    assert [row.note for row in rank_rows(feed)] == ["silent 90 s", "silent 90 s"]


def test_columns_of_ranks_go_where_there_is_no_room(tmp_path, written):
    rows = rank_rows(read(written.write_run(tmp_path, "a", "done", steps=60, ranks=2)))
    for cells in (100, 70, 60, 50, 40):
        assert max(len(plain(each)) for each in rank_lines(rows, cells)) <= cells
    assert "note" in said(rank_lines(rows, 30))


def test_ranks_without_gpus_have_no_columns_of_gpus(tmp_path, written):
    run = written.write_run(tmp_path, "a", "done", steps=60, ranks=2)
    path = run.telemetry_path / "gpu-01.jsonl"
    kept = [row for row in path.read_text().splitlines() if '"kind": "gpu' not in row]
    missing = {"v": 1, "t": written.EPOCH, "attempt": 1, "rank": 0, "kind": "gpus", "available": False,
               "count": 0, "reason": "NVML is not there"}  # fmt: skip
    path.write_text("\n".join([json.dumps(missing), *kept]) + "\n")
    feed = read(run)
    table = said([*rank_lines(rank_rows(feed), 80), *host_lines(feed.hosts)])
    assert table.splitlines()[0].split() == ["rank", "host", "step", "wait", "note"]
    assert "cpu 31 %" in table
    assert "no GPU: NVML is not there" in table


def test_a_run_of_one_rank_waits_for_nobody(tmp_path, written):
    run = written.write_run(tmp_path, "a", "done", steps=60, ranks=1)
    path = run.telemetry_path / "gpu-01.jsonl"
    path.write_text(path.read_text().replace('"wait_seconds": 0.34', '"wait_seconds": null'))
    assert said(wait_lines(rank_rows(read(run)), 40)) == "one rank waits for nobody"


def test_happenings_stand_newest_first(tmp_path, written):
    lines = said(happening_lines(read(written.write_run(tmp_path, "a", "failed", steps=120)).happenings))
    assert lines.splitlines()[0].startswith("06:10:50 ✗ failed on rank 1: CUDA out of memory")
    assert "06:06:44 ✓ checkpoint step-00000100 saved: 114.8 GB in 7.0 s" in lines
    assert lines.splitlines()[-1] == "06:00:00 preparing"


def test_an_earlier_day_has_its_date_among_the_happenings(tmp_path, written):
    run = written.write_run(tmp_path, "a", "done", steps=120, age_seconds=6 * 3600 + 120)
    lines = said(happening_lines(read(run).happenings)).splitlines()
    assert lines.index("2026-11-23") == len(lines) - 4
    assert "eval" in said(happening_lines(read(run).happenings, "EVAL step"))
    assert said(happening_lines(read(run).happenings, "no such")) == "none of them has these words"


PLAN = {
    "v": 1, "steps": 400, "tokens": 104_857_600, "host_bytes": 0,
    "per_gpu": {"total": 66e9, "allocated": 60e9, "context": 1e9},
    "step_seconds": {"mid": 3.0}, "tokens_per_second": {"mid": 70_000.0}, "cost_usd": {"mid": 13.0},
}  # fmt: skip


def test_a_plan_is_compared_with_what_is_measured_until_now(tmp_path, written):
    run = written.write_run(tmp_path, "a", "running", steps=200)
    run.plan_path.write_text(json.dumps(PLAN))
    table = [each.split() for each in said(plan_lines(read(run), 40)).splitlines()]
    assert table[0] == ["planned", "actual", "ratio"]
    assert table[1][:2] == ["step", "time"]
    assert table[1][-1] == "1.25x"
    assert table[3] == ["memory", "66.0", "GB", "65.1", "GB", "0.99x"]
    assert table[4] == ["cost", "$13.00", "$13.30", "1.02x"]


def test_a_grade_counts_once_the_run_is_over(tmp_path, written):
    grade = {"attempt": 1, "predicted": {"step_seconds": 2.0}, "measured": {"step_seconds": 4.0}}
    run = written.write_run(tmp_path, "a", "done", steps=200)
    run.plan_path.write_text(json.dumps(PLAN | {"grade": grade}))
    assert "2 s     4 s 2.00x" in said(plan_lines(read(run), 40))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no plan was made for this run"),
        ('{"problem": "no\\u001b such model"}', "no plan: no? such model"),
        ('{"v": 1}', "-"),
        ("{torn", "no plan was made"),
    ],
)
def test_what_keeps_a_plan_from_being_shown_is_said(tmp_path, written, text, words):
    run = written.write_run(tmp_path, "a", "done", steps=20)
    if text is not None:
        run.plan_path.write_text(text)
    assert words in said(plan_lines(read(run), 60))


def test_costs_have_their_rate_and_a_run_without_a_price_says_so(tmp_path, written):
    run = written.write_run(tmp_path, "a", "done", steps=200)
    assert "per hour  $31.92" in said(cost_lines(read(run).cost))
    assert "projected $13.30" in said(cost_lines(read(run).cost))
    assert "projected      -" in said(cost_lines(read(run).cost, is_over=True))
    assert said(cost_lines(None)) == "\n".join(NO_PRICE)


def test_charts_have_marks_along_each_axis_and_evaluations_beside_training(tmp_path, written):
    feed = read(written.write_run(tmp_path, "a", "done", steps=400, resumed_at=150))
    charts = RunCharts(feed)
    for axis, x in (("step", 140.0), ("tokens", 140 * 262_144.0), ("time", 653.5)):
        charts.refresh(axis)
        view = charts.view("loss", ChartOptions(axis=axis))
        assert [curve.label for curve in view.curves] == ["train", "eval"]
        assert x in [round(mark.x, 1) for mark in view.marks]
        assert {"checkpoint", "preemption", "resume"} == {mark.kind for mark in view.marks}
        assert all(curve.series.extent for curve in view.curves)
        assert charts.extent(axis)[1] > charts.extent(axis)[0]


def test_each_chart_of_a_run_without_steps_is_empty(tmp_path, written):
    feed = read(written.write_run(tmp_path, "a", "preparing", steps=0))
    charts = RunCharts(feed)
    charts.refresh("step")
    for key in CHARTS:
        view = charts.view(key, ChartOptions())
        assert view.curves == ()
        assert view.heading == view.title


def test_a_chart_knows_how_it_is_drawn(tmp_path, written):
    charts = RunCharts(read(written.write_run(tmp_path, "a", "done", steps=20)))
    options = ChartOptions(logs=frozenset({"loss"}), smoothing=0.9)
    loss, norm = charts.view("loss", options), charts.view("grad_norm", options)
    assert (loss.title, loss.log, loss.smoothing) == ("loss", True, 0.9)
    assert (norm.title, norm.log, norm.smoothing) == ("gradient norm", False, 0.9)


def test_curves_grow_with_the_run_and_step_times_become_percentiles(tmp_path, written):
    run = written.write_run(tmp_path, "a", "running", steps=40)
    feed = read(run)
    charts = RunCharts(feed)
    charts.refresh("step")
    assert [curve.label for curve in charts.view("step_seconds", ChartOptions()).curves] == ["step"]
    written.append_steps(run, 41, 120, 400)
    feed.read()
    charts.refresh("step")
    view = charts.view("step_seconds", ChartOptions())
    assert [curve.label for curve in view.curves] == ["p50", "p95"]
    assert view.curves[0].series.extent == (20.0, 120.0)
    assert charts.view("loss", ChartOptions()).curves[0].series.extent == (1.0, 120.0)


def test_a_deleted_or_damaged_run_says_so_and_keeps_what_was_known(tmp_path, written):
    run = written.write_run(tmp_path, "a", "done", steps=60)
    feed = read(run)
    run.record_path.write_text("{")
    feed.read()
    assert said(note_lines(feed, 200)).startswith("⚠ ")
    shutil.rmtree(run.path)
    feed.read()
    assert "the run directory is gone" in said(note_lines(feed, 100))
    assert "step 60/400" in head(feed)


def test_the_newest_run_is_the_one_that_changed_last(tmp_path, written):
    assert newest_run(tmp_path / "none") is None
    assert newest_run(tmp_path) is None
    for age, name in ((300, "old"), (100, "new")):
        run = written.write_run(tmp_path, name, "done", steps=5)
        moment = time.time() - age
        os.utime(run.record_path, (moment, moment))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    assert newest_run(tmp_path).name == "new"


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        ("running", {"checkpoint", "stop"}),
        ("preparing", {"stop"}),
        ("done", set()),
        ("failed", {"resume"}),
        ("preempted", {"resume"}),
        ("lost", {"resume"}),
        (None, set()),
    ],
)
def test_only_what_makes_sense_is_offered(state, asked):
    assert {name for name in ("checkpoint", "stop", "resume") if possible(name, state)} == asked
    assert possible("zoom", state)


def test_a_run_goes_on_past_a_batch_that_was_not_finite(tmp_path, written):
    record = written.write_run(tmp_path, "a", "stopped", steps=20).read_record()
    assert resume_options(record) == ()
    odd = written.write_run(tmp_path, "b", "nan", steps=20).read_record()
    assert resume_options(odd) == ("--skip-batches", "1")
    assert resume_options(None) == ()

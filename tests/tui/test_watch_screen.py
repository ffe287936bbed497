"""The Watch screen in sizes and states, by its keys, and with files that go wrong under it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from contextlib import nullcontext

import pytest

from stoker_tui.app import Cockpit
from stoker_tui.models.actions import Done, twin
from stoker_tui.models.session import Options, Session
from stoker_tui.screens.confirm import ConfirmScreen
from stoker_tui.widgets.chart import Chart

PLAN = {
    "v": 1, "steps": 400, "tokens": 104_857_600, "host_bytes": 0,
    "per_gpu": {"total": 66e9, "allocated": 60e9, "context": 1e9},
    "step_seconds": {"mid": 3.6}, "tokens_per_second": {"mid": 72_800.0}, "cost_usd": {"mid": 12.77},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def cockpit(folder, written, run=None, **options):
    session = Session(folder, Options(**options), run=run, clock=lambda: written.EPOCH + 775)
    asked = []

    def runner(arguments):
        asked.append(twin(arguments))
        return Done(twin(arguments), 0, "done", "")

    session.actions._runner = runner
    app = Cockpit(session, "watch")
    app.asked = asked
    return app


def text(pilot):
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


async def press(pilot, *keys):
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def until(condition):
    """Wait for messages to arrive, on a machine that may be busy."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.02)
    assert condition()


SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}
SHOWN = [
    ("empty", "80x24"),
    ("empty", "200x60"),
    ("live", "80x24"),
    ("live", "120x40"),
    ("live", "200x60"),
    ("preparing", "120x40"),
    ("done", "200x60"),
    ("done", "80x24"),
    ("failed", "80x24"),
    ("failed", "120x40"),
    ("preempted", "120x40"),
    ("preempted", "200x60"),
    ("nan", "80x24"),
    ("nan", "120x40"),
]


@pytest.mark.parametrize(("state", "size"), SHOWN)
def test_a_run_in_each_state_looks_as_it_should(tmp_path, written, shown, golden, state, size):
    run, works = None, nullcontext()
    if state == "live":
        run = written.write_run(
            tmp_path, "sft-07", "running", steps=200, ranks=4, resumed_at=120, slow_rank=2
        )
    elif state != "empty":
        steps = {"preparing": 0, "done": 400}.get(state, 200)
        # One of two ways of being without GPUs.
        run = written.write_run(tmp_path, "sft-07", state, steps=steps, ranks=2, gpus=state != "nan")
    if run is not None:
        run.plan_path.write_text(json.dumps(PLAN))
    if state in ("live", "preparing"):
        works = written.at_work(run)
    with works:
        golden(f"watch-{state}-{size}", shown(cockpit(tmp_path, written, run), size=SIZES[size]))


@pytest.fixture
def live(tmp_path, written):
    """A run that is at work, and the cockpit on it."""
    run = written.write_run(tmp_path, "sft-07", "running", steps=120, slow_rank=1, ranks=2)
    with written.at_work(run):
        yield cockpit(tmp_path, written, run)


def test_new_steps_are_on_the_screen_with_the_next_beat(live, written, drive):
    async def script(pilot):
        assert "step 120/400" in text(pilot)
        written.append_steps(live.session.run, 121, 150, 400)
        pilot.app.screen.beat()
        await pilot.pause()
        assert "step 150/400" in text(pilot)

    drive(live, script)


def test_brackets_bring_each_chart_to_the_front_of_a_small_terminal(live, drive):
    async def script(pilot):
        seen = []
        for _ in range(6):
            seen.append(pilot.app.screen.body.layout_now.chart)
            await press(pilot, "]")
        assert len(set(seen)) == 6
        await press(pilot, "[")
        assert "wait, share of the step" in text(pilot)

    drive(live, script, (80, 24))


def test_what_a_plugin_says_of_steps_has_a_chart_on_the_next_page(live, written, drive):
    async def script(pilot):
        path, step = live.session.run.events_path, written._step(written.EPOCH, 121, 400, 1)
        with path.open("a") as file:
            file.write(json.dumps(step | {"reward_[bold]mean": 0.25}) + "\n")
        await until(lambda: pilot.app.screen.beat() or "1/10 loss" in text(pilot))
        await press(pilot, "[")
        await until(lambda: "10/10 reward [bold]mean 0.25" in text(pilot))
        assert "gradient norm" not in text(pilot)
        await press(pilot, "z")
        assert "per hour" not in text(pilot)
        await press(pilot, "]")
        await until(lambda: "1/10 loss" in text(pilot))

    drive(live, script)


def test_words_leave_charts_out_and_escape_brings_them_back(live, drive):
    async def script(pilot):
        await press(pilot, "slash", *"MFU")
        await until(lambda: "/MFU MFU 4" in text(pilot))
        assert "gradient norm" not in text(pilot)
        await press(pilot, "enter", "x")
        assert pilot.app.screen.options.axis == "tokens"
        await press(pilot, "escape")
        await until(lambda: "gradient norm" in text(pilot))
        await press(pilot, "slash", *"zzz", "escape")
        await until(lambda: "gradient norm" in text(pilot))

    drive(live, script)


def test_words_leave_events_out(live, drive):
    async def script(pilot):
        pilot.app.screen.choose("happenings")
        await press(pilot, "slash", *"eval", "enter")
        await until(lambda: "events /eval" in text(pilot))
        assert "evaluate at step 100" in text(pilot)
        assert "checkpoint step-" not in text(pilot)
        assert pilot.app.screen.focused is pilot.app.screen.body.panes["happenings"]
        await press(pilot, "escape")
        await until(lambda: "checkpoint step-" in text(pilot))

    drive(live, script)


def test_tab_brings_each_table_to_the_front_of_a_small_terminal(live, drive):
    async def script(pilot):
        await press(pilot, "tab")
        assert "[ranks]" in text(pilot)
        await press(pilot, "tab")
        assert "checkpoint step-00000100 saved" in text(pilot)
        await press(pilot, "tab")
        assert "no plan was made" in text(pilot)
        await press(pilot, "tab")
        assert "per hour" in text(pilot)
        await press(pilot, "shift+tab", "shift+tab")
        assert "[events]" in text(pilot)

    drive(live, script, (80, 24))


def test_z_gives_a_pane_all_the_room_and_takes_it_back(live, drive):
    async def script(pilot):
        await press(pilot, "z")
        assert "learning rate" not in text(pilot)
        await press(pilot, "]")
        assert "learning rate" in text(pilot)
        assert "gradient norm" not in text(pilot)
        await press(pilot, "escape")
        assert "gradient norm" in text(pilot)

    drive(live, script)


def test_keys_choose_the_axis_the_scale_the_smoothing_and_the_range(live, drive):
    async def script(pilot):
        screen, chart = pilot.app.screen, pilot.app.screen.query_one("#loss", Chart)
        await press(pilot, "x")
        assert chart.view.x_label == "tokens"
        await press(pilot, "x", "x", "g", "v")
        assert (chart.view.x_label, chart.view.log, chart.view.smoothing) == ("step", True, 0.6)
        assert not screen.query_one("#grad_norm", Chart).view.log
        await press(pilot, "plus", "plus")
        low, high = chart.view.x_range
        assert (low, high) == (90.25, 120.0)
        await press(pilot, "less_than_sign")
        assert chart.view.x_range[1] < 120
        await press(pilot, "minus")
        assert chart.view.x_range[1] - chart.view.x_range[0] == 59.5
        await press(pilot, "0", "g", "v", "v", "v")
        assert (chart.view.x_range, chart.view.log, chart.view.smoothing) == (None, False, 0.0)

    drive(live, script)


def test_a_cursor_reads_all_charts_at_one_place(live, drive):
    async def script(pilot):
        await press(pilot, "left", "left")
        moved = pilot.app.screen.query_one("#loss", Chart).cursor
        assert moved is not None
        await until(lambda: {chart.cursor for chart in pilot.app.screen.query(Chart)} == {moved})
        await press(pilot, "x")
        assert {chart.cursor for chart in pilot.app.screen.query(Chart)} == {None}

    drive(live, script)


def test_y_copies_the_command_of_a_chart_and_the_text_of_a_pane(live, drive):
    async def script(pilot):
        await press(pilot, "y")
        assert pilot.app.clipboard == f"stoker watch {live.session.run.path}"
        pilot.app.screen.choose("cost")
        await press(pilot, "y")
        assert "per hour" in pilot.app.clipboard

    drive(live, script)


def test_a_checkpoint_is_asked_for_at_once_and_a_stop_after_a_question(live, drive):
    async def script(pilot):
        await press(pilot, "C")
        assert live.asked[0].startswith("stoker checkpoint sft-07")
        await press(pilot, "S")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await press(pilot, "n")
        assert len(live.asked) == 1
        await press(pilot, "S", "y")
        assert live.asked[1].startswith("stoker stop sft-07")
        await press(pilot, "R")
        assert len(live.asked) == 2

    drive(live, script)


def test_a_run_that_left_can_be_resumed_and_not_stopped(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "preempted", steps=120)
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        await press(pilot, "S", "C")
        await press(pilot, "R", "n")
        assert app.asked == []
        await press(pilot, "R")
        assert "goes on from step 120" in text(pilot)
        await press(pilot, "y")
        assert app.asked[0].startswith("stoker resume sft-07")

    drive(app, script)


def test_a_run_whose_loss_was_not_finite_goes_on_without_that_batch(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "nan", steps=120)
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        await press(pilot, "R")
        assert "Step 121 was not finite" in text(pilot)
        await press(pilot, "n")
        assert app.asked == []
        await press(pilot, "R", "y")
        assert app.asked[0].startswith("stoker resume sft-07")
        assert "--skip-batches 1" in app.asked[0]

    drive(app, script)


def test_a_record_that_cannot_be_read_is_said(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "running", steps=120)
    run.record_path.write_text("{")
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        assert "sft-07" in text(pilot).splitlines()[1]
        assert "⚠ run.json" in text(pilot)
        await press(pilot, "C", "S", "R", "z", "y")
        assert app.asked == []

    drive(app, script)


def test_read_only_changes_nothing(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "running", steps=20)
    with written.at_work(run):
        app = cockpit(tmp_path, written, run, read_only=True)

        async def script(pilot):
            await press(pilot, "C", "S", "R")
            assert app.asked == []
            assert not isinstance(pilot.app.screen, ConfirmScreen)

        drive(app, script)


def test_without_a_choice_the_newest_run_is_shown_as_soon_as_there_is_one(tmp_path, written, drive):
    app = cockpit(tmp_path, written)

    async def script(pilot):
        assert "No run yet." in text(pilot)
        await press(pilot, "z", "]", "tab", "x", "g", "plus", "C", "S", "R", "y")
        written.write_run(tmp_path, "first", "done", steps=20)
        pilot.app.screen.beat()
        await pilot.pause()
        assert "first  ✓ done" in text(pilot)
        assert "No run yet." not in text(pilot)

    drive(app, script)


def test_another_choice_shows_another_run(tmp_path, written, drive):
    first = written.write_run(tmp_path, "first", "done", steps=20)
    second = written.write_run(tmp_path, "second", "failed", steps=30)
    app = cockpit(tmp_path, written, first)

    async def script(pilot):
        await press(pilot, "plus")
        app.session.run = second
        pilot.app.screen.beat()
        await pilot.pause()
        assert "second  ✗ fail" in text(pilot)
        assert pilot.app.screen.query_one("#loss", Chart).view.x_range is None

    drive(app, script)


def test_a_run_that_is_deleted_while_it_is_shown_says_so(live, drive):
    async def script(pilot):
        shutil.rmtree(live.session.run.path)
        pilot.app.screen.beat()
        await press(pilot, "x", "]", "z")
        assert "the run directory is gone" in text(pilot)
        assert "step 120/400" in text(pilot)

    drive(live, script)


def test_torn_lines_and_control_characters_do_no_harm(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "done", steps=60)
    note = {"v": 1, "t": written.EPOCH, "attempt": 1, "rank": 0, "kind": "note"}
    with run.events_path.open("a") as file:
        file.write(json.dumps(note | {"message": "red \x1b[31m [bold]text[/]"}) + "\n")
        file.write('{"v": 1, "kind": "st\n{}\n[]\n{"kind": "step"}\n{"kind": "step", "step": 61, "lo')
    with (run.telemetry_path / "gpu-01.jsonl").open("a") as file:
        file.write('{"kind": "gpu", "index": "no"}\n{"ki')
    run.ledger_path.write_text("{")
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        assert "red ?[31m [bold]text[/]" in text(pilot)
        assert "step 60/400" in text(pilot)

    drive(app, script, (200, 60))


def test_files_that_are_missing_are_no_reason_to_stop(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "failed", steps=60)
    for path in (run.events_path, run.ledger_path, run.recipe_path):
        path.unlink()
    shutil.rmtree(run.telemetry_path)
    run.update_record(error=None, total_steps=0)
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        assert "the supervisor could not start the ranks." in text(pilot)

    drive(app, script)


def test_a_long_run_is_shown_at_once_and_read_beside(tmp_path, written, long_runs, drive):
    run = written.write_run(tmp_path, "sft-07", "done", steps=20)
    long_runs.lengthen(run, 30_000)
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        screen = pilot.app.screen
        await until(lambda: screen.query_one("#loss", Chart).view.curves)
        assert "step 30000/30000" in text(pilot)
        await until(lambda: screen.beat() or not screen.feed.needs_load)
        await until(lambda: screen.beat() or "overview" not in text(pilot))
        assert len(screen.feed.steps) == 30_000
        assert screen.query_one("#loss", Chart).view.curves[0].series.extent == (1.0, 30_000.0)

    drive(app, script)


def test_a_storm_of_sizes_leaves_no_trace(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "failed", steps=120)
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        before = text(pilot)
        for size in ((20, 6), (1, 1), (200, 3), (80, 24), (12, 50)):
            await pilot.resize_terminal(*size)
            await pilot.press("tab", "]", "z")
        await pilot.press("escape")
        await pilot.resize_terminal(120, 40)
        pilot.app.screen.beat()
        await asyncio.sleep(0.05)
        await pilot.pause()
        assert text(pilot).splitlines()[:2] == before.splitlines()[:2]
        assert "gradient norm" in text(pilot)

    drive(app, script)


def test_nothing_is_painted_while_nothing_happens(tmp_path, written, drive):
    run = written.write_run(tmp_path, "sft-07", "done", steps=120)
    app = cockpit(tmp_path, written, run)

    async def script(pilot):
        painted = []
        for chart in pilot.app.screen.query(Chart):
            chart._redraw = lambda: painted.append("chart")
        before = pilot.app.screen._compositor
        for _ in range(3):
            pilot.app.screen.beat()
            assert not pilot.app.screen._dirty_widgets
            await pilot.pause()
        assert painted == []
        assert pilot.app.screen._compositor is before

    drive(app, script)

"""The screen Logs, by keys."""

from __future__ import annotations

import time

import pytest

from stoker_tui.app import Cockpit
from stoker_tui.models.session import Options, Session


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def cockpit(tmp_path, written):
    """`cockpit(state, ...)`: the screen Logs of a written run of that state."""

    def make(state="done", **changes):
        if state != "empty":
            written.write_run(tmp_path, "llama-sft", state, **changes)
        return Cockpit(Session(tmp_path, Options(), clock=lambda: written.EPOCH + 4000), "logs")

    return make


def log_of(cockpit, rank=0, attempt=1):
    return cockpit.session.folder / "llama-sft" / "logs" / f"attempt-{attempt}" / f"rank-{rank}.log"


def head(text):
    return next(line for line in text.splitlines() if "llama-sft" in line)


@pytest.mark.parametrize(
    ("name", "state", "size", "keys", "changes"),
    [
        ("logs-empty-80x24", "empty", (80, 24), (), {}),
        ("logs-failed-80x24", "failed", (80, 24), ("t",), {"steps": 100}),
        ("logs-done-80x24", "done", (80, 24), ("/", *"nccl", "enter"), {"steps": 100}),
        ("logs-failed-120x40", "failed", (120, 40), ("left", "t"), {"steps": 250}),
        ("logs-preempted-120x40", "preempted", (120, 40), ("t", "["), {"steps": 200, "resumed_at": 90}),
        ("logs-nan-200x60", "nan", (200, 60), ("t", "v", "v"), {"steps": 150}),
        ("logs-split-200x60", "running", (200, 60), ("m", "i"), {"steps": 300}),
    ],
)
def test_the_screen_shows(cockpit, shown, golden, name, state, size, keys, changes):
    golden(name, shown(cockpit(state, **changes), *keys, size=size))


def test_left_and_right_go_from_all_to_the_failing_rank_to_the_others(cockpit, shown):
    app = cockpit("failed", ranks=3)
    assert "log all [✗r1] r0 r2" in head(shown(app))


def test_keys_choose_logs(cockpit, drive):
    app = cockpit("done", ranks=3)
    heads = []

    async def script(pilot):
        for key in ("right", "h", "left", "["):
            await pilot.press(key)
            await _settled(pilot)
            heads.append(head(_text(pilot)))

    drive(app, script)
    assert [line.partition("log ")[2] for line in heads] == [
        "all [r0] r1 r2",
        "[all] r0 r1 r2",
        "all r0 r1 [r2]",
        "all r0 r1 [r2]",
    ]


def test_several_logs_are_chosen_from_a_list(cockpit, drive):
    app = cockpit("done", ranks=4)

    async def script(pilot):
        for key in ("r", "a", "home", "space", "j", "j", "space", "enter"):
            await pilot.press(key)
            await _settled(pilot)
        assert "log all [r0] r1 [r2] r3" in head(_text(pilot))
        assert app.screen.desk.twin() == "stoker logs llama-sft --rank 0 --rank 2"

    drive(app, script)


def test_lines_are_followed_as_they_come_until_one_looks_back(cockpit, drive):
    app = cockpit("running", ranks=1)

    async def script(pilot):
        with log_of(app).open("a") as log:
            log.write("just written\x1b[2J\n")
        app.screen.beat()
        await _settled(pilot)
        assert "just written\n" in _text(pilot)
        await pilot.press("home")
        with log_of(app).open("a") as log:
            log.write("unseen line\n" * 3 + "last\n" + "".join(f"{n}\n" for n in range(100)))
        app.screen.beat()
        await _settled(pilot)
        assert "FOLLOW" not in _text(pilot)
        assert "unseen" not in _text(pilot)
        await pilot.press("f")
        assert "FOLLOW" in _text(pilot)
        assert "99" in _text(pilot)

    drive(app, script, (80, 24))


def test_a_log_that_is_cut_or_gone_and_a_run_that_is_gone_are_no_crash(cockpit, drive):
    import shutil

    app = cockpit("running", ranks=2)

    async def script(pilot):
        log_of(app).write_text("anew\n")
        app.screen.beat()
        await _settled(pilot)
        assert "anew" in _text(pilot)
        log_of(app).unlink()
        app.screen.beat()
        await _settled(pilot)
        assert "r1" in head(_text(pilot))
        shutil.rmtree(app.session.folder / "llama-sft")
        app.screen.beat()
        await _settled(pilot)
        assert "no run.json" in _text(pilot)
        await pilot.press("left", "m", "v", "n", "e", "r", "escape", "end")
        await _settled(pilot)

    drive(app, script, (80, 24))


def test_a_search_is_counted_goes_on_and_is_forgotten(cockpit, drive):
    app = cockpit("done", ranks=2, steps=300)

    async def script(pilot):
        await pilot.press("/", *"step", "enter")
        await _settled(pilot)
        await app.workers.wait_for_complete()
        first = _text(pilot)
        await pilot.press("N")
        await _settled(pilot)
        second = _text(pilot)
        counts = [
            next(part for part in text.split() if part.count("/") == 1 and part[0].isdigit())
            for text in (first, second)
        ]
        total = counts[0].partition("/")[2]
        assert counts == [f"{total}/{total}", f"{int(total) - 1}/{total}"]
        await pilot.press("o")
        await _settled(pilot)
        assert "loading" not in _text(pilot)
        await pilot.press("escape")
        await _settled(pilot)
        assert "loading" in _text(pilot)
        await pilot.press("/", *"nowhere", "enter")
        await _settled(pilot)
        assert "not found" in _text(pilot)

    drive(app, script)


def test_levels_and_errors(cockpit, drive):
    app = cockpit("failed", ranks=4)

    async def script(pilot):
        await pilot.press("left", "v", "v", "v")
        await _settled(pilot)
        text = _text(pilot)
        assert "error and worse" in text
        assert "Traceback" in text
        assert "NCCL" not in text
        await pilot.press("escape", "home", "e")
        await _settled(pilot)
        assert app.screen.pane.view.current().line.text.startswith("Traceback")

    drive(app, script)


def test_identical_lines_unfold_and_long_lines_wrap(cockpit, drive):
    app = cockpit("running", ranks=1)
    log_of(app).write_text("same\n" * 4 + "x" * 150 + "END\n")

    async def script(pilot):
        assert "same  (4 identical)" in _text(pilot)
        assert "END" not in _text(pilot)
        await pilot.press("w")
        assert "END" in _text(pilot)
        await pilot.press("i", "up", "enter")
        assert _text(pilot).count("same") == 4

    drive(app, script, (80, 24))


def test_the_line_and_the_command_are_copied(cockpit, drive):
    app = cockpit("failed", ranks=2)

    async def script(pilot):
        await pilot.press("end", "up", "y")
        assert app.clipboard
        await pilot.press("v", "v", "c")
        assert app.clipboard == "stoker logs llama-sft --rank 1 --level warning"

    drive(app, script)


@pytest.mark.parametrize("size", [(20, 6), (300, 90)])
def test_any_size_shows_something(cockpit, drive, size):
    app = cockpit("failed")

    async def script(pilot):
        await pilot.press("m", "w", "t", "/", "a", "enter", "r", "escape")
        await pilot.resize_terminal(20, 6)
        await pilot.resize_terminal(*size)
        await _settled(pilot)

    drive(app, script, size)


def _text(pilot):
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


async def _settled(pilot):
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    await pilot.pause()

"""The screen Runs in sizes and states, by its keys, and with files that go wrong under it."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from stoker.run.directory import RunDirectory
from stoker_tui.app import Cockpit
from stoker_tui.models.actions import Done, twin
from stoker_tui.models.session import Options, Session
from stoker_tui.screens import runs
from stoker_tui.screens.compare import CompareScreen
from stoker_tui.screens.confirm import ConfirmScreen
from stoker_tui.widgets.chart import Chart
from stoker_tui.widgets.grid import Grid

SMALL = (80, 24)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of runs whose name is the same on every machine."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    return Path("runs")


@pytest.fixture
def live():
    """Holds leases until the end of the test."""
    with ExitStack() as stack:
        yield stack.enter_context


def cockpit(folder, written, **options):
    session = Session(folder, Options(**options), clock=lambda: written.EPOCH + 1200)
    asked = []

    def runner(arguments):
        asked.append(twin(arguments))
        return Done(twin(arguments), 0, "done", "")

    session.actions._runner = runner
    app = Cockpit(session)
    app.asked = asked
    return app


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch):
    monkeypatch.setattr(runs, "_SETTLE_SECONDS", 0.01)


async def press(pilot, *keys):
    """Press keys, each when nothing is on its way to the screen, and wait for that at the end."""
    await rest(pilot)
    for key in keys:
        await pilot.press(key)
        await rest(pilot)


async def rest(pilot):
    """Wait until nothing is on its way to the screen."""
    before = ""
    for _ in range(200):
        if before == (before := text(pilot)) and not is_busy(pilot.app.screen):
            break
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.02)


def is_busy(screen):
    """Curves are read when the cursor has come to rest."""
    if not isinstance(screen, runs.RunsScreen):
        return False
    marked, row = [each.name for each in screen.marked], screen.row
    chosen = marked or ([row.name] if row is not None and row.state != "damaged" else [])
    is_behind = screen.has_room and screen.lower.display and chosen != list(screen.overlay.feeds)
    return bool(screen._settling or screen._is_catching_up or is_behind)


def text(pilot):
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def names(pilot):
    grid = pilot.app.screen.query_one("#runs", Grid)
    return list(grid._keys)


@pytest.fixture(scope="module")
def template(written, tmp_path_factory):
    """A run in every state, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    written.write_run(folder, "qwen8b-sft-07", "running", steps=240, slow_rank=2)
    written.write_run(folder, "qwen8b-lora-02", "preparing", steps=0, ranks=2, gpus=False,
                      age_seconds=60)  # fmt: skip
    written.write_run(folder, "llama70b-sft-01", "preempted", steps=180, ranks=16, age_seconds=9e4)
    written.write_run(folder, "qwen8b-lora-01", age_seconds=2e5, learning_rate=3e-5)
    written.write_run(folder, "mistral-dpo-03", "failed", steps=211, ranks=4, age_seconds=3e5)
    written.write_run(folder, "mistral-dpo-02", "nan", steps=100, ranks=4, age_seconds=4e5)
    lost = written.write_run(folder, "left-alone", "running", steps=90, age_seconds=5e5)
    os.utime(lost.events_path, (0, 0))
    written.write_run(folder, "torn", steps=5).record_path.write_text("{")
    return folder


@pytest.fixture
def each(folder, written, live, template):
    """The folder with a run in every state."""
    shutil.copytree(template, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("logs"))
    for name in ("qwen8b-sft-07", "qwen8b-lora-02"):
        live(written.at_work(RunDirectory(folder / name)))
    return folder


WRITTEN = {
    "empty": [],
    "live": ["running", "preparing"],
    "done": ["done", "done"],
    "failed": ["failed"],
    "preempted": ["preempted", "stopped"],
    "nan": ["nan"],
}


@pytest.mark.parametrize(
    ("state", "size", "keys"),
    [
        ("empty", (80, 24), ()),
        ("empty", (200, 60), ()),
        ("live", (120, 40), ()),
        ("live", (200, 60), ()),
        ("done", (80, 24), ("space", "j", "space")),
        ("done", (200, 60), ("space", "j", "space")),
        ("failed", (80, 24), ()),
        ("failed", (120, 40), ()),
        ("preempted", (80, 24), ()),
        ("preempted", (200, 60), ()),
        ("nan", (120, 40), ()),
    ],
)
def test_a_state_in_a_size(folder, written, live, drive, golden, state, size, keys):
    for number, each in enumerate(WRITTEN[state], start=1):
        run = written.write_run(folder, f"{each}-0{number}", each, age_seconds=600.0 * number,
                                steps=0 if each == "preparing" else 240 + 40 * number)  # fmt: skip
        if state == "live":
            live(written.at_work(run))

    async def script(pilot):
        await press(pilot, *keys)
        golden(f"runs-{state}-{size[0]}x{size[1]}", text(pilot))

    drive(cockpit(folder, written), script, size)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_all_states_together(each, written, drive, golden, size):
    async def script(pilot):
        await press(pilot, "space", "j", "j", "j", "space")
        golden(f"runs-all-{size[0]}x{size[1]}", text(pilot))

    drive(cockpit(each, written), script, size)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("state:run", ["qwen8b-sft-07"]),
        ("state:lost OR loss=nan", ["mistral-dpo-02", "left-alone"]),
        ("loss<", None),
        ("xyz", []),
    ],
)
def test_a_filter_is_typed_and_cleared(each, written, drive, keys, found):
    async def script(pilot):
        everything = names(pilot)
        await press(pilot, "slash", *(key if key.isalnum() else SIGNS[key] for key in keys))
        assert names(pilot) == (everything if found is None else found)
        assert ("loss< wants a value" in text(pilot)) == (found is None)
        await press(pilot, "enter")
        assert isinstance(pilot.app.focused, Grid)
        assert names(pilot) == (everything if found is None else found)
        await press(pilot, "escape")
        assert names(pilot) == everything

    drive(cockpit(each, written), script, SMALL)


SIGNS = {" ": "space", ":": "colon", "<": "less_than_sign", "=": "equals_sign"}


def test_letters_are_text_while_the_filter_is_typed_and_tab_completes(folder, written, drive):
    written.write_run(folder, "a", steps=5)
    app = cockpit(folder, written)

    async def script(pilot):
        await press(pilot, "slash", "q", "S", "2", "space", "l", "o")
        assert "tab: loss<" in text(pilot)
        await press(pilot, "tab")
        assert app.screen.query_one("#query").value == "qS2 loss<"
        await press(pilot, "escape")
        assert (app.screen.query_one("#query").value, app.asked) == ("", [])

    drive(app, script, SMALL)


def test_o_and_a_letter_sort_and_the_same_again_turns_it_round(each, written, drive):
    async def script(pilot):
        await press(pilot, "o")
        assert "l loss" in text(pilot)
        await press(pilot, "l")
        first = names(pilot)
        assert first[0] == "qwen8b-lora-01"
        assert "loss▲" in text(pilot)
        await press(pilot, "o", "l")
        assert names(pilot)[0] == "left-alone"
        assert "loss▼" in text(pilot)
        await press(pilot, "o", "escape")
        assert names(pilot)[0] == "left-alone"

    drive(cockpit(each, written), script, SMALL)


def test_marked_runs_are_laid_over_each_other_and_keep_their_looks(each, written, drive):
    async def script(pilot):
        chart = pilot.app.screen.query_one("#overlay", Chart)
        await press(pilot, "space", "j", "j", "space", "j", "space")
        labels = [curve.label for curve in chart.view.curves]
        assert labels == ["1 qwen8b-sft-07", "2 llama70b-sft-01", "3 qwen8b-lora-01"]
        await press(pilot, "home")
        await press(pilot, "space")
        assert [curve.look for curve in chart.view.curves] == [1, 2]
        await press(pilot, "x", "g", "v")
        assert (chart.view.x_label, chart.view.log, chart.view.smoothing) == ("tokens", True, 0.6)
        await press(pilot, "z")
        assert chart.size.height > 30
        await press(pilot, "z", "escape")
        assert pilot.app.screen.query_one("#runs", Grid).marked == ()
        assert [curve.label for curve in chart.view.curves] == ["qwen8b-sft-07"]

    drive(cockpit(each, written), script)


def test_enter_opens_watch_and_digits_show_the_run_of_the_cursor(each, written, drive):
    app = cockpit(each, written)

    async def script(pilot):
        await press(pilot, "j", "j", "j", "enter")
        assert app.session.run.name == "qwen8b-lora-01"
        assert "[4 Watch]" in text(pilot)
        await press(pilot, "1")
        await press(pilot, "j")
        assert app.session.run.name == "mistral-dpo-03"

    drive(app, script, SMALL)


def test_a_damaged_run_is_not_opened_but_explained(folder, written, drive):
    written.write_run(folder, "a", steps=5).record_path.write_text("{")
    app = cockpit(folder, written)

    async def script(pilot):
        await press(pilot, "enter")
        assert app.session.run is None
        assert "[1 Runs]" in text(pilot)
        await press(pilot, "R", "S", "c", "d", "y")
        assert app.asked == []

    drive(app, script, SMALL)


def test_n_composes_from_the_recipe_of_the_run(folder, written, drive):
    run = written.write_run(folder, "a", steps=5)
    app = cockpit(folder, written)

    async def script(pilot):
        await press(pilot, "n")
        assert app.current_mode == "compose"
        document = app.session.draft.document
        assert (document.source, document.path) == ("run a", None)
        assert document.text == run.recipe_path.read_text()

    drive(app, script, SMALL)


@pytest.mark.parametrize(
    ("key", "place", "command"),
    [
        ("S", 0, "stoker stop qwen8b-sft-07 --no-wait"),
        ("R", 2, "stoker resume llama70b-sft-01 --detach"),
    ],
)
def test_stop_and_resume_ask_first(each, written, drive, key, place, command):
    app = cockpit(each, written)

    async def script(pilot):
        await press(pilot, *["j"] * place, key)
        assert isinstance(app.screen, ConfirmScreen)
        await press(pilot, "n")
        assert app.asked == []
        await press(pilot, key, "y")
        assert app.asked == [command]

    drive(app, script, SMALL)


@pytest.mark.parametrize(("key", "place"), [("S", 3), ("R", 0), ("S", 7)])
def test_what_makes_no_sense_for_a_run_is_not_asked(each, written, drive, key, place):
    app = cockpit(each, written)

    async def script(pilot):
        await press(pilot, *["j"] * place, key)
        assert not isinstance(app.screen, ConfirmScreen)
        (said,) = [each.message for each in app._notifications]
        assert said.endswith(f" is {app.screen.row.state}.")

    drive(app, script, SMALL)


def test_a_read_only_cockpit_changes_nothing(each, written, drive):
    app = cockpit(each, written, read_only=True)

    async def script(pilot):
        await press(pilot, "S", "j", "j", "R")
        assert not isinstance(app.screen, ConfirmScreen)
        assert app.asked == []
        said = [each.message for each in app._notifications]
        assert said == ["Stop: this cockpit is read-only.", "Resume: this cockpit is read-only."]

    drive(app, script, SMALL)


def test_marked_runs_are_compared_and_their_recipes_too(each, written, drive, golden):
    app = cockpit(each, written)

    async def script(pilot):
        await press(pilot, "c")
        assert not isinstance(app.screen, CompareScreen)
        await press(pilot, "space", "j", "j", "j", "space", "c")
        golden("runs-compared-80x24", text(pilot))
        await press(pilot, "y", "escape", "d")
        assert isinstance(app.screen, CompareScreen)
        assert len(app.screen._lines) == 1
        await press(pilot, "escape")
        assert not isinstance(app.screen, CompareScreen)

    drive(app, script, SMALL)


def test_runs_that_come_and_go_are_seen(folder, written, drive):
    written.write_run(folder, "a", steps=5)
    app = cockpit(folder, written)

    async def script(pilot):
        app.screen.index._rest = app.screen.index._due = 0.0
        await press(pilot, "space")
        written.write_run(folder, "b", steps=5, age_seconds=60)
        await beat_until(pilot, ["a", "b"])
        shutil.rmtree(folder)
        await beat_until(pilot, [])
        assert "No runs in runs yet" in text(pilot)

    drive(app, script, SMALL)


async def beat_until(pilot, wanted):
    """Beat until the table has these rows; a worker that began before a change does not see it."""
    for _ in range(20):
        pilot.app.screen.beat()
        await press(pilot)
        if names(pilot) == wanted:
            break
    assert names(pilot) == wanted


def test_the_mouse_sorts_moves_and_opens(each, written, drive):
    app = cockpit(each, written)

    async def script(pilot):
        await pilot.click("#runs", offset=(14, 0))
        await press(pilot)
        assert names(pilot) == sorted(names(pilot))
        await pilot.click("#runs", offset=(14, 3))
        await pilot.click("#runs", offset=(14, 3))
        await press(pilot)
        assert app.session.run.name == names_of(each)[2]
        assert "[4 Watch]" in text(pilot)

    drive(app, script, SMALL)


def names_of(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [(20, 6), (1, 1)])
def test_no_size_is_too_small(each, written, drive, size):
    async def script(pilot):
        await press(pilot, "j", "space", "z", "o", "escape", "slash", "escape", "escape")
        await pilot.resize_terminal(200, 60)
        await press(pilot)
        assert "qwen8b-sft-07" in text(pilot)

    drive(cockpit(each, written), script, size)


def test_a_folder_that_is_not_there_says_how_to_begin(folder, written, drive):
    async def script(pilot):
        assert "No runs in runs/none yet" in text(pilot)
        await press(pilot, "enter", "space", "c", "n", "R", "S", "y", "z")

    drive(cockpit(folder / "none", written), script, SMALL)

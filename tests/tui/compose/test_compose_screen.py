"""The screen Compose: what it shows at each size, and what it keeps, saves and starts."""

from __future__ import annotations

import copy
import os
import re
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.widgets import ContentSwitcher, Input

from stoker_tui.app import Cockpit
from stoker_tui.models.actions import Actions, Done
from stoker_tui.models.compose.bench import Bench
from stoker_tui.models.session import Session

PROBLEM = {
    "key": "train.steps",
    "message": "found the integer 0, expected a number of at least 1.",
    "hint": "Optimizer steps, instead of epochs.",
    "file": "smoke.toml",
    "line": 16,
    "column": 9,
    "severity": "error",
    "fix": {"action": "set", "key": "train.steps", "value": 1, "title": "set train.steps = 1"},
}


def read(name):
    return Path(name).read_text()


def write(name, text):
    Path(name).write_text(text)


def on_screen(pilot):
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)


@pytest.fixture
def seen(drive):
    """`seen(app, size, *keys)`: the text of the screen, the cursor on train.steps, after these keys."""

    def see(app, size, *keys):
        found = []

        async def script(pilot):
            app.screen.go_to("train.steps")
            await pilot.press(*keys)
            await pilot.pause()
            found.append("".join(f"{line.rstrip()}\n" for line in on_screen(pilot).split("\n")))

        drive(app, script, size)
        return found[0]

    return see


@pytest.fixture
def too_large(canned_plan):
    plan = copy.deepcopy(canned_plan)
    plan["fits"] = False
    plan["per_gpu"] |= {"activations": 82.7e9, "allocated": 115.2e9, "total": 122.9e9}
    return plan


def test_80_columns_show_the_form_a_problem_and_the_plan_in_two_lines(
    composing, canned_plan, seen, golden
):
    app = composing(plan=canned_plan, problems=[PROBLEM])
    golden("compose-80x24-problem", seen(app, (80, 24)))


def test_120_columns_show_form_and_plan_beside_each_other(composing, canned_plan, seen, golden):
    app = composing(plan=canned_plan)
    golden("compose-120x40-fits", seen(app, (120, 40)))


def test_200_columns_show_form_text_and_plan_that_does_not_fit(composing, too_large, seen, golden):
    app = composing(plan=too_large)
    golden("compose-200x60-too-large", seen(app, (200, 60), "t"))


def test_without_a_recipe_it_offers_what_to_begin_with(folder, shown, golden):
    golden("compose-80x24-start", shown(Cockpit(Session(Path("runs")), "compose"), size=(80, 24)))


def test_every_pane_is_reached_by_tab_at_80_columns(composing, canned_plan, drive):
    app = composing(plan=canned_plan, problems=[PROBLEM])

    async def script(pilot):
        panes = []
        for _ in range(5):
            panes.append(app.screen.pane_of(app.focused))
            await pilot.press("tab")
            await pilot.pause()
            if panes[-1] == "plan":
                continue
        assert panes == ["sections", "fields", "plan", "problems", "sections"]
        app.screen.enter_pane("plan")
        await pilot.pause()
        assert "an average over offers" in on_screen(pilot)

    drive(app, script, (80, 24))


@pytest.mark.parametrize("size", [(20, 6), (60, 15)])
def test_a_terminal_that_is_too_small_is_no_reason_to_crash(composing, canned_plan, shown, size):
    assert shown(composing(plan=canned_plan), "tab", "tab", "t", "z", "down", "enter", size=size)


def test_a_draft_that_is_not_saved_is_kept_while_other_screens_are_in_front(composing, drive, until):
    app = composing()

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        app.screen.go_to("train.steps")
        for key in ("enter", "ctrl+a", "ctrl+k", "7", "enter", "1"):
            await pilot.press(key)
            await pilot.pause()
        await pilot.press("2")
        await pilot.pause()
        assert "steps = 7" in app.session.draft.document.text
        assert app.screen.line.key == "train.steps"
        assert "modified" in on_screen(pilot)
        assert "steps = 20" in read("smoke.toml")
        await pilot.press("w")
        await pilot.pause()
        assert "steps = 7" in read("smoke.toml")

    drive(app, script, (80, 24))


def test_a_recipe_from_a_template_asks_for_a_name_when_it_is_saved(folder, bench, drive, until):
    session = Session(Path("runs"))
    session.__dict__["bench"] = bench
    app = Cockpit(session, "compose")

    async def script(pilot):
        await pilot.press("enter")
        await until(pilot, lambda: session.draft is not None and session.draft.is_checked)
        await pilot.press("w")
        await pilot.pause()
        name = app.screen.query_one(Input)
        name.value = "elsewhere/mine"
        await pilot.press("enter")
        await pilot.pause()
        assert "ends in .toml" in on_screen(pilot)
        name.value = "mine.toml"
        await pilot.press("enter")
        await pilot.pause()
        assert read("mine.toml") == session.draft.document.text
        assert not session.draft.document.is_modified

    drive(app, script, (80, 24))


def test_a_file_that_somebody_else_changed_is_not_written_over_without_a_yes(composing, drive, until):
    app = composing()

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        app.session.draft.document.set("run.seed", 3)
        write("smoke.toml", "# somebody else's\n")
        await pilot.press("w")
        await pilot.pause()
        assert "was changed by somebody else" in on_screen(pilot)
        await pilot.press("n")
        assert read("smoke.toml") == "# somebody else's\n"
        await pilot.press("w")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        assert "seed = 3" in read("smoke.toml")

    drive(app, script, (80, 24))


def test_launching_shows_plan_and_command_and_goes_to_the_run_after_a_yes(
    composing, canned_plan, written, drive, until
):
    app = composing(plan=canned_plan)
    written.write_run(Path("runs"), "smoke", "done", steps=5, total=5, ranks=2)
    asked = []

    def run(arguments):
        asked.append(list(arguments))
        return Done("stoker run", 0, "smoke runs in runs/smoke\nnext: stoker watch smoke\n", "")

    app.session.actions = Actions(Path("runs"), runner=run)

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        await pilot.press("L")
        await pilot.pause()
        app.screen.query_one(Input).value = "2"
        await pilot.press("enter")
        await until(pilot, lambda: "stoker run smoke.toml --detach --nproc 2" in on_screen(pilot))
        assert app.session.bench.asked[-1] == {"gpu": "h100-80gb", "gpus": 2}
        assert "$2.67 per GPU-hour at vast" in on_screen(pilot)
        assert not asked
        await pilot.press("y")
        await until(pilot, lambda: app.session.run is not None)
        assert asked == [["run", "smoke.toml", "--detach", "--nproc", "2"]]
        assert app.session.run.name == "smoke"
        assert app.current_mode == "watch"

    drive(app, script, (80, 24))


def test_what_stoker_run_has_against_a_recipe_is_shown_whole(composing, canned_plan, drive, until):
    app = composing(plan=canned_plan)
    words = "stoker: smoke is running already.\n  Stop it first: stoker stop smoke"
    app.session.actions = Actions(
        Path("runs"), runner=lambda arguments: Done("stoker run", 2, "", words)
    )

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        for key in ("L", "enter"):
            await pilot.press(key)
            await pilot.pause()
        await until(pilot, lambda: "Start smoke.toml?" in on_screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: "Stop it first: stoker stop smoke" in on_screen(pilot))
        assert "exit code 2" in on_screen(pilot)

    drive(app, script, (80, 24))


def test_a_recipe_with_problems_is_not_started_and_the_keys_go_to_them(
    composing, canned_plan, drive, until
):
    problem = {"severity": "error", "key": "train.steps", "message": "found 0.", "hint": "", "fix": None}
    app = composing(plan=canned_plan, problems=[problem])

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections and app.screen.recipe.problems)
        await pilot.press("L")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert app.screen.focused.id == "problems"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.line and app.screen.line.key == "train.steps")

    drive(app, script, (80, 24))


def test_read_only_neither_saves_nor_starts(composing, canned_plan, drive, until):
    app = composing(plan=canned_plan, read_only=True)

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        app.session.draft.document.set("run.seed", 3)
        for key in ("w", "ctrl+s", "L", "W"):
            await pilot.press(key)
            await pilot.pause()
        assert len(app.screen_stack) == 1
        assert "seed" not in read("smoke.toml")

    drive(app, script, (80, 24))


def test_a_bench_that_dies_is_said_in_words_and_comes_back(composing, drive, until):
    app = composing()
    bench = app.session.__dict__["bench"] = Bench()

    async def script(pilot):
        draft = app.session.draft
        await until(pilot, lambda: draft.is_checked)
        os.kill(bench._child.pid, signal.SIGSTOP)
        draft.document.set("run.seed", 3)
        app.screen.changed()
        await until(pilot, lambda: bench._child._waiting)
        os.kill(bench._child.pid, signal.SIGKILL)
        await until(pilot, lambda: "signal 9" in draft.live.problem)
        assert "signal 9" in on_screen(pilot)
        draft.document.set("run.seed", 4)
        app.screen.changed()
        await until(pilot, lambda: draft.is_checked and not draft.live.problem)

    drive(app, script, (80, 24))
    bench.close()


def test_rows_of_data_are_shown_with_what_is_learnt_marked(composing, canned_plan, drive, until):
    app = composing(plan=canned_plan)
    segments = [{"text": "question\n", "supervised": False}, {"text": "answer", "supervised": True}]
    example = {
        "key": "data.train.0", "source": "rows.jsonl", "place": "row 1", "num_tokens": 12,
        "num_supervised": 5, "num_cut": 0, "segments": segments, "problem": "",
    }  # fmt: skip
    app.session.bench.preview = lambda *_, **__: {"examples": [example], "problems": []}

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        await pilot.press("d")
        await until(pilot, lambda: "12 tokens, 5 supervised" in on_screen(pilot))
        assert "| question\\n" in on_screen(pilot)
        assert "+ answer" in on_screen(pilot)

    drive(app, script, (80, 24))


def test_the_section_of_somebody_elses_plugin_is_there(folder, monkeypatch, drive, until):
    root = Path(__file__).parents[3] / "examples" / "stoker-loss-printer" / "src"
    metadata = folder / "site" / "stoker_loss_printer-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: stoker-loss-printer\nVersion: 0.1.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[stoker.plugins]\nloss_printer = stoker_loss_printer:LossPrinter\n"
    )
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.syspath_prepend(str(folder / "site"))
    session = Session(Path("runs"))
    app = Cockpit(session, "compose")

    async def script(pilot):
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.sections)
        assert "plugins.loss_printer" in [section.name for section in app.screen.sections]
        names = [section.title for section in app.screen.sections if section.plugin]
        assert "loss_printer" in names

    drive(app, script, (80, 24))
    session.bench.close()


def test_leaving_asks_while_there_is_something_to_lose(composing, canned_plan, drive, until):
    app = composing(plan=canned_plan)

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        app.session.draft.document.set("run.seed", 3)
        await pilot.press("q")
        await pilot.pause()
        assert "has changes" in on_screen(pilot)
        await pilot.press("n")
        assert app.is_running
        await pilot.press("u", "q")
        await until(pilot, lambda: app.return_code is not None or not app.is_running)

    drive(app, script, (80, 24))


def test_ctrl_c_does_not_lose_a_recipe_unless_it_is_meant(composing, canned_plan, drive, until):
    app = composing(plan=canned_plan)

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        app.session.draft.document.set("run.seed", 3)
        await pilot.press("ctrl+c", "ctrl+c")
        await pilot.pause()
        assert "has changes" in on_screen(pilot)
        assert app.return_code is None
        await pilot.press("y")
        await until(pilot, lambda: app.return_code is not None)

    drive(app, script, (80, 24))


def test_escape_goes_to_the_list_and_back_without_losing_anything(composing, drive, until):
    app = composing()

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        app.session.draft.document.set("run.seed", 3)
        switcher = app.screen.query_one(ContentSwitcher)
        await pilot.press("escape")
        assert switcher.current == "start"
        await pilot.press("escape")
        assert switcher.current == "editor"
        await pilot.press("escape", "enter")
        await pilot.pause()
        assert "has changes" in on_screen(pilot)
        await pilot.press("n")
        assert "seed = 3" in app.session.draft.document.text

    drive(app, script, (80, 24))


def test_the_editor_gets_the_text_and_its_change_is_one_step_of_undo(
    composing, canned_plan, monkeypatch, drive, until
):
    app = composing(plan=canned_plan)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i 's/steps = 20/steps = 33/'")
    monkeypatch.setattr(type(app), "suspend", lambda self: nullcontext())

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        await pilot.press("e")
        await until(pilot, lambda: "steps = 33  " in app.session.draft.document.text)
        assert "# twenty are enough" in app.session.draft.document.text
        await pilot.press("u")
        assert not app.session.draft.document.is_modified

    drive(app, script, (80, 24))


def test_what_a_base_states_is_shown_with_its_place(composing, recipe_text, drive, until):
    Path("base.toml").write_text(recipe_text)
    app = composing(text='extends = "base.toml"\n\n[train]\nsteps = 5\n')

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        app.screen.go_to("train.batch_size")
        await pilot.pause()
        assert app.screen.line.origin == "base.toml:16"
        assert re.search(r" batch_size .* base *$", on_screen(pilot), re.MULTILINE)
        assert "base.toml:16" in on_screen(pilot)
        await pilot.press("x")  # there is nothing here to be taken out
        assert not app.session.draft.document.is_modified
        app.screen.go_to("train.steps")
        assert app.screen.line.origin == "stated"

    drive(app, script, (80, 24))


def test_a_text_that_is_no_toml_is_said_and_can_be_mended(composing, drive, until):
    app = composing(text='[run\nname = "x"\n')

    async def script(pilot):
        draft = app.session.draft
        await until(pilot, lambda: draft.is_checked and draft.problems)
        await pilot.press("t", "down", "right", "enter", "escape")
        await pilot.pause()
        assert "smoke.toml" in on_screen(pilot)
        draft.document.edit_text('[run]\nname = "x"\n')
        app.screen.changed()
        await until(pilot, lambda: draft.is_checked)
        assert app.screen.sections

    drive(app, script, (80, 24))


def test_the_recipe_of_a_run_is_edited_as_a_copy_and_the_run_keeps_its_own(
    folder, bench, written, drive, until
):
    run = written.write_run(Path("runs"), "smoke", "done", steps=5, total=5, ranks=2)
    session = Session(Path("runs"))
    session.recipe = run.recipe_path
    session.__dict__["bench"] = bench
    app = Cockpit(session, "compose")

    async def script(pilot):
        await until(pilot, lambda: session.draft is not None and app.screen.sections)
        assert session.draft.document.path is None
        assert "new recipe, run smoke" in on_screen(pilot)
        await pilot.press("w")
        await pilot.pause()
        assert app.screen.query_one(Input).value == "smoke.toml"

    drive(app, script, (80, 24))

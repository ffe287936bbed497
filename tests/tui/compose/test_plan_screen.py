"""The screen Plan: a table to choose from, and a run's plan against the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker_tui.app import Cockpit
from stoker_tui.models.session import Session

GRADE = {
    "attempt": 1,
    "after_counting": False,
    "predicted": {"reserved_bytes": 41.9e9, "step_seconds": 5.14, "cost_usd": 30.52},
    "measured": {"reserved_bytes": 43.6e9, "step_seconds": 5.98, "cost_usd": 33.1},
    "ratio": {"reserved_bytes": 1.04, "step_seconds": 1.16, "cost_usd": 1.08},
}


def write(name, text):
    Path(name).write_text(text)


def on_screen(pilot):
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)


@pytest.fixture
def planning(composing, canned_plan):
    """A cockpit with a recipe, at the screen Plan."""
    return lambda **options: composing(plan=canned_plan, start="plan", **options)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_what_fits_is_ranked_below_the_recipe_as_it_is(planning, shown, golden, size):
    width, height = size
    golden(f"plan-{width}x{height}-ranked", shown(planning(), size=size))


def test_of_a_finished_run_it_shows_what_was_planned_and_what_was_measured(
    folder, written, canned_plan, shown, golden
):
    run = written.write_run(Path("runs"), "smoke", "done", steps=5, total=5, ranks=2)
    run.plan_path.write_text(json.dumps({**canned_plan, "grade": GRADE}))
    golden("plan-120x40-finished", shown(Cockpit(Session(Path("runs"), run=run), "plan")))


def test_a_run_without_a_readable_plan_says_so(folder, written, shown):
    run = written.write_run(Path("runs"), "smoke", "done", steps=5, total=5, ranks=2)
    run.plan_path.write_text('{"v": 1, "na')
    text = shown(Cockpit(Session(Path("runs"), run=run), "plan"), size=(80, 24))
    assert "no plan that can be read" in text


def test_with_neither_recipe_nor_run_it_says_where_to_begin(folder, shown, golden):
    golden("plan-80x24-empty", shown(Cockpit(Session(Path("runs")), "plan"), size=(80, 24)))


def test_choosing_a_row_rewrites_the_recipe_in_one_step_after_a_diff_and_a_yes(planning, drive, until):
    app = planning()

    async def script(pilot):
        document = app.session.draft.document
        before = document.text
        await pilot.press("down", "enter")
        await until(pilot, lambda: "+micro_batch_size = 2" in on_screen(pilot))
        assert "-micro_batch_size = 4" in on_screen(pilot)
        assert document.text == before
        await pilot.press("y")
        await until(pilot, lambda: document.text != before)
        assert document.tables["train"]["micro_batch_size"] == 2
        assert "gpus_per_node" not in document.text  # one GPU is the default
        await pilot.press("u")
        await pilot.pause()
        assert document.text == before

    drive(app, script)


def test_keys_rank_by_time_over_all_methods_and_all_rows(planning, drive, until):
    app = planning()

    async def script(pilot):
        for key, name, value in (
            ("o", "by", "time"),
            ("m", "any_method", True),
            ("a", "everything", True),
        ):
            await pilot.press(key)
            await until(pilot, lambda: not app.screen.is_asking)
            assert app.session.bench.asked[-1][name] == value
        assert app.session.bench.asked[-1]["gpu"] == "h100-80gb"
        assert "by time, all methods" in on_screen(pilot)

    drive(app, script)


def test_the_memory_of_a_row_is_planned_when_the_cursor_rests_on_it(planning, drive, until):
    app = planning()

    async def script(pilot):
        await pilot.press("down")
        await until(pilot, lambda: app.screen.plans)
        assert app.session.bench.asked[-1] == {"gpu": "h100-80gb", "gpus": 1, "nodes": 1}
        await until(pilot, lambda: "logits" in on_screen(pilot))

    drive(app, script)


def test_a_recipe_that_cannot_be_compared_says_why(composing, drive, until):
    app = composing(text="[train]\nsteps = 0\n", start="plan")

    async def script(pilot):
        await until(pilot, lambda: app.screen.problem)
        assert (
            "expected a number of at least 1" in app.screen.problem or "problems" in app.screen.problem
        )
        assert app.screen.problem[:20] in on_screen(pilot)

    drive(app, script)


def test_a_recipe_that_was_named_is_opened_but_not_over_one_that_is_not_saved(planning, drive, until):
    app = planning()
    write("other.toml", "[run]\nname = 'other'\n")
    app.session.recipe = Path("other.toml")

    async def script(pilot):
        await until(pilot, lambda: "other.toml" in on_screen(pilot))
        app.session.draft.document.set("run.seed", 3)
        app.session.recipe = Path("smoke.toml")
        await pilot.press("1", "3")
        await pilot.pause()
        assert app.session.draft.document.path == Path("other.toml")

    drive(app, script)


def test_a_recipe_that_is_opened_takes_the_place_of_a_run_and_r_goes_between(
    planning, written, drive, until
):
    run = written.write_run(Path("runs"), "smoke", "done", steps=5, total=5, ranks=2)
    app = planning()
    app.session.run, draft, app.session.draft = run, app.session.draft, None

    async def script(pilot):
        assert "plan and run" in on_screen(pilot)
        app.session.draft = draft
        await pilot.press("1", "3")
        await until(pilot, lambda: "smoke.toml" in on_screen(pilot))
        assert app.focused.id == "ranked"
        await pilot.press("r")
        await until(pilot, lambda: app.focused.id == "details")
        assert "plan and run" in on_screen(pilot)

    drive(app, script, (80, 24))

"""Compose by keys: values of every kind, rows, plugins, fixes, undo; a recipe that `check` accepts."""

from __future__ import annotations

from pathlib import Path


async def type_text(pilot, text):
    for character in text:
        await pilot.press(
            {".": "full_stop", "-": "minus", " ": "space", "/": "slash"}.get(character, character)
        )


async def go(pilot, key):
    """Put the cursor on a key."""
    pilot.app.screen.go_to(key)
    await pilot.pause()


async def press(pilot, *keys):
    """Press keys; `=text` types a text, `~text` puts it into the input at once."""
    for each in keys:
        if len(each) > 1 and each.startswith("="):
            await type_text(pilot, each[1:])
        elif each.startswith("~"):
            pilot.app.focused.value = each[1:]
        else:
            await pilot.press(each)
    await pilot.pause()


CASES = (
    ("train.steps", ("enter", "ctrl+a", "ctrl+k", "=40", "enter"), 40),
    ("train.learning_rate", ("enter", "~2e-4", "enter"), 2e-4),
    ("train.schedule", ("enter", "=lin", "enter"), "linear"),
    ("train.precision", ("space",), "fp16_mixed"),
    ("checkpoint.asynchronous", ("enter",), False),
    ("run.name", ("enter", "~other", "enter"), "other"),
    ("plugins.freeze.patterns", ("enter", "~a,b", "enter"), ["a", "b"]),
    ("checkpoint.every", ("enter", "~500 steps", "enter"), "500 steps"),
    ("data.train.0.weight", ("enter", "~2.5", "enter"), 2.5),
    ("train.micro_batch_size", ("x",), None),
)


def test_every_kind_of_field_is_edited_by_keys(composing, drive, until):
    app = composing()

    async def script(pilot):
        document = app.session.draft.document
        await until(pilot, lambda: app.screen.sections)
        for key, keys, value in CASES:
            await go(pilot, key)
            await press(pilot, *keys)
            assert document.stated(key).value == value, key
        # As it was typed, and with the comment behind it.
        assert "learning_rate = 2e-4" in document.text
        assert "steps = 40                  # twenty are enough" in document.text
        for _ in CASES:
            app.screen.action_undo()
        assert not document.is_modified

    drive(app, script, (80, 24))


def test_what_is_no_value_keeps_the_input_open_and_says_why(composing, drive, until):
    app = composing()

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        await go(pilot, "train.steps")
        for each in ("enter", "ctrl+a", "ctrl+k", "x", "enter"):
            await pilot.press(each)
        await pilot.pause()
        assert app.screen.form.is_editing
        assert "expected integer" in str(app.screen.query_one("#about").render())
        await pilot.press("escape")
        assert app.session.draft.document.text.count("steps = 20") == 1

    drive(app, script, (80, 24))


def paths(app):
    return [row["path"] for row in app.session.draft.document.tables["data"]["train"]]


def test_rows_of_data_are_added_moved_and_removed(composing, drive, until):
    app = composing()

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        await go(pilot, "data.train")
        await press(pilot, "a", "=second", "enter")
        assert paths(app) == ["demo:docstrings", "second"]
        await press(pilot, "less_than_sign")
        assert paths(app) == ["second", "demo:docstrings"]
        await go(pilot, "data.train.1")
        await press(pilot, "x")
        assert paths(app) == ["second"]

    drive(app, script, (80, 24))


def test_a_plugin_is_switched_on_and_off_by_space_on_its_section(composing, drive, until):
    app = composing()

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        sections = app.screen.query_one("#sections")
        sections.highlighted = sections.get_option_index("plugins.lora")
        await pilot.pause()
        app.screen.enter_pane("sections")
        await pilot.press("space")
        await pilot.pause()
        assert "[plugins.lora]" in app.session.draft.document.text
        assert app.screen.current_section().plugin == "lora"
        await pilot.press("space")
        await pilot.pause()
        assert "[plugins.lora]" not in app.session.draft.document.text

    drive(app, script, (80, 24))


def test_f_applies_the_fix_of_the_problem_and_u_takes_it_back(composing, drive, until):
    app = composing(text=Path(__file__).with_name("misspelt.toml").read_text())

    async def script(pilot):
        draft = app.session.draft
        await until(pilot, lambda: draft.is_checked and draft.problems)
        assert "train.learning_rat" in [problem["key"] for problem in draft.problems]
        await pilot.press("f")
        await until(pilot, lambda: draft.is_checked)
        assert draft.problems == ()
        assert "learning_rate = 3e-3" in draft.document.text
        await pilot.press("u")
        await until(pilot, lambda: draft.problems)
        await pilot.press("U")
        await until(pilot, lambda: draft.is_checked and not draft.problems)

    drive(app, script, (80, 24))


def test_slash_finds_a_key_in_any_section(composing, drive, until):
    app = composing()

    async def script(pilot):
        await until(pilot, lambda: app.screen.sections)
        await pilot.press("slash")
        await type_text(pilot, "hang")
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen.line.key == "launch.hang_seconds"

    drive(app, script, (80, 24))


def test_b_takes_a_better_neighbour_after_a_diff_and_a_yes(composing, canned_plan, drive, until):
    app = composing(plan=canned_plan)

    async def script(pilot):
        draft = app.session.draft
        await until(pilot, lambda: draft.live.neighbours and not draft.live.is_looking)
        before = draft.document.text
        await press(pilot, "b", "enter")
        assert draft.document.text == before
        await press(pilot, "y")
        assert draft.document.tables["train"]["micro_batch_size"] == 2
        await press(pilot, "u")
        assert draft.document.text == before

    drive(app, script, (80, 24))

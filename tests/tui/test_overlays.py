"""What lies over the screens: help, the command line, the palette, the log of commands; the frame."""

from __future__ import annotations

import time

import pytest

from stoker.run.directory import RunDirectory
from stoker_tui import clipboard
from stoker_tui.app import Cockpit
from stoker_tui.models.actions import Actions, Done, twin
from stoker_tui.models.one_line import summary
from stoker_tui.models.places import copied_path
from stoker_tui.models.session import Options, Session
from stoker_tui.screens.confirm import ConfirmScreen


@pytest.fixture
def asked():
    """What was asked of `stoker`."""
    return []


@pytest.fixture
def session(tmp_path, written, asked):
    """Two runs, and commands that are written down instead of run."""
    for name in ("alpha", "beta"):
        written.write_run(tmp_path / "runs", name)

    def run(arguments):
        asked.append(tuple(arguments))
        return Done(twin(arguments), 0, "it is done", "", t=0.0)

    session = Session(tmp_path / "runs")
    session.actions = Actions(session.folder, runner=run)
    return session


@pytest.fixture
def typed(session, drive):
    """`typed(text)`: the application after the text was typed at `:` and entered, and `look` at it."""

    def enter(*texts, look=None, read_only=False, size=(100, 30)):
        session.options = Options(read_only=read_only)
        app = Cockpit(session)

        async def script(pilot):
            for text in texts:
                await pilot.press("colon", *(PRESSED.get(each, each) for each in text), "enter")
                await pilot.pause()
            if look is not None:
                await look(pilot)

        drive(app, script, size, notifications=True)
        return app

    return enter


PRESSED = {" ": "space", "-": "minus", "/": "slash", ".": "full_stop", "!": "exclamation_mark"}


def text_of(pilot):
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


@pytest.mark.parametrize("size", [(20, 6), (80, 24)])
def test_overlays_open_and_esc_closes_them(session, drive, size):
    async def script(pilot):
        below = pilot.app.screen
        for key in ("question_mark", "colon", "at", "ctrl+p"):
            await pilot.press(key)
            await pilot.pause()
            assert pilot.app.screen is not below, key
            await pilot.press("escape")
            await pilot.pause()
            assert pilot.app.screen is below, key

    drive(Cockpit(session), script, size)


def test_help_says_keys_their_twins_and_signs(session, shown):
    text = shown(Cockpit(session), "question_mark", size=(120, 60))
    assert "Everywhere" in text
    assert "Leave the cockpit; runs go on." in text
    assert "stoker watch RUN" in text
    assert "● run" in text


def test_a_command_names_a_screen_and_a_run(typed, session):
    app = typed("watch beta")
    assert app.current_mode == "watch"
    assert session.run.name == "beta"


def test_the_run_in_front_is_remembered(session, drive):
    session.run = RunDirectory(session.folder / "beta")

    async def script(pilot):
        pilot.app.on_app_focus()

    drive(Cockpit(session), script)
    assert session.settings.get("session", "run") == "beta"


def test_a_command_names_a_recipe(typed, session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("")

    async def look(pilot):
        assert pilot.app.current_mode == "compose"
        assert session.draft.document.path.name == "mine.toml"

    typed("open mine.toml", look=look)


def test_q_leaves(typed):
    assert not typed("q!").is_running


def test_what_cannot_be_done_is_said(typed, monkeypatch):
    told = []
    monkeypatch.setattr(Cockpit, "notify", lambda app, message, **options: told.append(message))
    typed("wacth", "watch gamma", "open no.toml", "theme no")
    assert "Did you mean 'watch'?" in told[0]
    assert "there is no run 'gamma'" in told[1]
    assert "there is no recipe no.toml" in told[2]
    assert "There is no theme 'no'" in told[3]


def test_what_changes_something_is_asked_about_first(typed, asked):
    async def look(pilot):
        assert isinstance(pilot.app.screen, ConfirmScreen)
        assert "$ stoker stop alpha" in text_of(pilot)
        assert not asked
        await pilot.press("y")
        await pilot.app.workers.wait_for_complete()
        await pilot.press("at")
        await pilot.pause()
        assert "stoker stop alpha" in text_of(pilot)
        assert "it is done" in text_of(pilot)

    typed("stop alpha", look=look)
    assert [each[:2] for each in asked] == [("stop", "alpha")]


def test_what_changes_something_is_not_done_when_read_only(typed, session, asked):
    session.actions.read_only = True

    async def look(pilot):
        await pilot.press("y")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert "READ-ONLY" in text_of(pilot)
        assert "is not run" in text_of(pilot)

    typed("resume alpha", look=look, read_only=True)
    assert not asked


def test_tab_completes_and_arrows_bring_back_what_was_typed(session, drive):
    async def script(pilot):
        await pilot.press("colon", "w", "tab", "b", "e", "tab", "enter")
        await pilot.pause()
        assert session.run.name == "beta"
        await pilot.press("colon", "up")
        await pilot.pause()
        assert pilot.app.screen.query_one("#typed").value == "watch beta"
        await pilot.press("down")
        assert pilot.app.screen.query_one("#typed").value == ""

    drive(Cockpit(session), script)


def test_enter_takes_the_candidate_that_is_marked(session, drive):
    async def script(pilot):
        await pilot.press("colon", "p", "l", "u", "enter")
        await pilot.pause()
        assert pilot.app.current_mode == "plugins"

    drive(Cockpit(session), script)


def test_the_palette_runs_the_same_commands(session, drive, until):
    async def script(pilot):
        await pilot.press("ctrl+p", *"plugins")
        await until(pilot, lambda: "What is installed." in text_of(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.current_mode == "plugins")

    drive(Cockpit(session), script)


def test_paused_the_view_does_not_beat(session, drive, monkeypatch):
    async def script(pilot):
        beats = []
        monkeypatch.setattr(type(pilot.app.screen), "beat", lambda screen: beats.append(1))
        await pilot.press("p")
        await pilot.pause()
        assert "PAUSED" in text_of(pilot)
        beats.clear()
        pilot.app.on_app_focus()
        assert not beats
        await pilot.press("p")
        pilot.app.on_app_focus()
        assert beats

    drive(Cockpit(session), script)


def test_a_terminal_that_is_not_looked_at_beats_every_five_seconds(session, drive, monkeypatch):
    async def script(pilot):
        app, beats = pilot.app, []
        monkeypatch.setattr(type(app.screen), "beat", lambda screen: beats.append(1))
        app.on_app_blur()
        app._last_beat = time.monotonic() - 4.5
        app._beat()
        assert not beats
        app._last_beat = time.monotonic() - 5
        app._beat()
        assert len(beats) == 1
        app.on_app_focus()
        assert len(beats) == 2

    drive(Cockpit(session), script)


@pytest.mark.parametrize("size", [(59, 24), (20, 6)])
def test_without_room_there_is_one_line_and_what_is_needed(session, shown, size):
    lines = shown(Cockpit(session), size=size).split("\n")
    assert lines[0].startswith("✓ done ")
    assert lines[1] == "needs 60x15"
    assert not any(lines[2:])


def test_the_line_says_how_the_run_does(session, written, tmp_path):
    assert summary(session) == "2 runs"
    session.run = written.write_run(tmp_path / "runs", "gamma", "stopped", steps=120, total=400)
    assert summary(session).startswith("■ stop gamma step 120/400 loss 2.")
    session.run.record_path.unlink()
    assert summary(session) == "gamma: cannot be read"


def test_what_is_copied_is_kept_in_a_file(session, drive):
    async def script(pilot):
        pilot.app.copy_to_clipboard("stoker watch alpha")
        await pilot.pause()
        assert "copied stoker watch alpha; also in" in " ".join(text_of(pilot).split())

    drive(Cockpit(session), script, notifications=True)
    assert copied_path().read_text() == "stoker watch alpha"


def test_what_is_too_long_for_terminals_is_only_in_the_file():
    long = "x" * clipboard.MOST_BYTES
    assert not clipboard.fits(long)
    told = clipboard.told(long, "~/copied.txt", in_clipboard=False)
    assert told.endswith("too long for the clipboard, in ~/copied.txt")

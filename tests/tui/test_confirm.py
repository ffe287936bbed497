"""The question before something is changed."""

from __future__ import annotations

import pytest

from stoker_tui.app import Cockpit
from stoker_tui.models.session import Session
from stoker_tui.screens.confirm import ConfirmScreen


@pytest.fixture
def ask(tmp_path, drive):
    """`ask(screen, *keys)`: what the screen answers to these keys; None while it is still open."""

    def answer(screen, *keys, size=(80, 24)):
        answers = []

        async def script(pilot):
            await pilot.app.push_screen(screen, answers.append)
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()

        drive(Cockpit(Session(tmp_path)), script, size)
        return answers[0] if answers else None

    return answer


@pytest.mark.parametrize(
    ("key", "expected"), [("y", True), ("enter", True), ("n", False), ("escape", False)]
)
def test_one_key_answers(ask, key, expected):
    assert ask(ConfirmScreen("Stop it?", ["It saves first."], command="stoker stop a"), key) is expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("enter",), None),
        (("a", "b", "enter"), None),
        (("a", "b", "c", "enter"), True),
        (("escape",), False),
    ],
)
def test_what_cannot_be_taken_back_needs_the_name(ask, keys, expected):
    assert ask(ConfirmScreen("Delete?", type_name="abc"), *keys) is expected


def test_the_command_that_would_run_is_shown(tmp_path, drive):
    async def script(pilot):
        screen = ConfirmScreen("Stop [b]a[/b]?", ["Saves first."], command="stoker stop '[a]'")
        pilot.app.push_screen(screen)
        await pilot.pause()
        assert "$ stoker stop '[a]'" in shown_text(pilot)
        assert "Stop [b]a[/b]?" in shown_text(pilot)

    drive(Cockpit(Session(tmp_path)), script, (80, 24))


def test_it_fits_where_there_is_hardly_room(ask):
    assert ask(ConfirmScreen("Stop?", ["line"] * 40, command="stoker stop a"), "y", size=(20, 6)) is True


def shown_text(pilot):
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())

"""The application: its screens by their digits, and what it never does."""

from __future__ import annotations

import pytest
from textual.worker import WorkerFailed

from stoker_tui.app import Cockpit
from stoker_tui.models.commands import PLACES
from stoker_tui.models.session import Session


@pytest.mark.parametrize(("digit", "name"), [(each.key, each.name.title()) for each in PLACES])
def test_each_digit_brings_its_screen_to_the_front(tmp_path, shown, digit, name):
    text = shown(Cockpit(Session(tmp_path)), str(digit))
    assert f"[{digit} {name}]" in text.splitlines()[0]


def test_a_failure_of_a_worker_is_said_and_ends_nothing(tmp_path, drive, monkeypatch):
    app, said = Cockpit(Session(tmp_path)), []

    def fail():
        raise KeyError("loss")

    async def script(pilot):
        monkeypatch.setattr(
            app, "notify", lambda message, *, title, **rest: said.append((title, message))
        )
        app.screen.in_thread(fail, "load")
        with pytest.raises(WorkerFailed):
            await app.workers.wait_for_complete()
        await pilot.pause()
        assert said == [("a bug of the cockpit", "load: KeyError: 'loss'")]

    drive(app, script)

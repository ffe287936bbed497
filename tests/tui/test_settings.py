"""What is remembered, and the user's own keys."""

from __future__ import annotations

import json

import pytest

from stoker_tui.app import Cockpit
from stoker_tui.bindings import all_ids
from stoker_tui.models.keymap import read_keymap
from stoker_tui.models.places import keys_path, settings_path
from stoker_tui.models.session import Session
from stoker_tui.models.settings import Settings, read_settings


def test_what_is_remembered_is_there_the_next_time(tmp_path):
    path = tmp_path / "deep" / "tui.toml"
    read_settings(path).remember("session", run="a'b\"c\\d\n\x1b")
    read_settings(path).remember("watch", charts=["loss", "mfu"], smoothing=0.6, log=True, columns=3)
    again = read_settings(path)
    assert again.get("session", "run") == "a'b\"c\\d\n\x1b"
    assert again.table("watch") == {
        "charts": ["loss", "mfu"],
        "smoothing": 0.6,
        "log": True,
        "columns": 3,
    }


def test_what_is_known_already_is_not_written_again(tmp_path):
    settings = Settings(tmp_path / "tui.toml")
    settings.remember("view", theme="nord")
    settings.path.unlink()
    settings.remember("view", theme="nord")
    assert not settings.path.exists()


@pytest.mark.parametrize("text", ["[view", "\0", "view = 1\n[view]\n"])
def test_a_damaged_file_is_ignored_and_said(tmp_path, text):
    path = tmp_path / "tui.toml"
    path.write_text(text)
    settings = read_settings(path)
    assert not settings.values
    assert settings.problem.startswith("tui.toml is ignored: ")


def test_values_that_nobody_wrote_are_left_out(tmp_path):
    path = tmp_path / "tui.toml"
    path.write_text('top = 1\n[view]\ntheme = "nord"\ndate = 2026-11-24\n')
    assert read_settings(path).values == {"view": {"theme": "nord"}}
    assert read_settings(path).get("view", "no", "else") == "else"


def test_a_disk_that_takes_nothing_is_no_matter(tmp_path):
    (tmp_path / "file").write_text("")
    settings = Settings(tmp_path / "file" / "tui.toml")
    settings.remember("view", theme="nord")
    assert settings.get("view", "theme") == "nord"


def test_a_theme_is_remembered(tmp_path, drive):
    session = Session(tmp_path, settings=Settings(settings_path()))

    async def script(pilot):
        pilot.app.choose_theme("nord")
        await pilot.pause()

    drive(Cockpit(session), script)
    assert read_settings(settings_path()).get("view", "theme") == "nord"


def test_keys_are_read_in_both_spellings(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text('app.help = "f1,question_mark"\n"go.runs" = "r"\n')
    keymap = read_keymap(path, all_ids())
    assert keymap.keys == {"app.help": "f1,question_mark", "go.runs": "r"}
    assert not keymap.problems


def test_ids_that_are_not_known_are_said(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text('app.hlep = "f1"\ngo.runs = 3\n')
    keymap = read_keymap(path, all_ids())
    assert not keymap.keys
    assert "no binding 'app.hlep'. Did you mean 'app.help'?" in keymap.problems[0]
    assert "go.runs must be a key" in keymap.problems[1]
    path.write_text("[")
    assert "keys.toml is ignored" in read_keymap(path, ()).problems[0]
    assert read_keymap(tmp_path / "none.toml", ()) == read_keymap(tmp_path / "none.toml", all_ids())


def test_a_key_of_the_user_takes_the_place_of_ours(tmp_path, drive):
    async def script(pilot):
        await pilot.press("4")
        assert pilot.app.current_mode == "runs"
        await pilot.press("f4")
        assert pilot.app.current_mode == "watch"

    drive(Cockpit(Session(tmp_path), keymap={"go.watch": "f4"}), script)


def test_the_command_restores_the_run_and_says_what_was_wrong(tmp_path, written, terminals):
    written.write_run(tmp_path / "runs", "alpha")
    places = {name: str(tmp_path / name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")}
    for folder in places.values():
        (tmp_path / folder / "stoker").mkdir(parents=True)
    state = tmp_path / "XDG_STATE_HOME" / "stoker" / settings_path().name
    state.write_text('[session]\nrun = "alpha"\n[view]\ntheme = "no such theme"\n')
    keys = tmp_path / "XDG_CONFIG_HOME" / "stoker" / keys_path().name
    keys.write_text(json.dumps("nothing").replace('"', ""))
    cockpit = terminals.Pty("tui", cwd=tmp_path, size=(40, 10), **places)
    try:
        cockpit.wait_for("done alpha step 400/400")
        cockpit.resize(100, 30)
        cockpit.wait_for("keys.toml is ignored")
    finally:
        cockpit.end()


def test_keys_of_panes_can_be_named_too():
    assert {"runs.stop", "grid.mark", "details.down", "plan_pane.down"} <= all_ids()

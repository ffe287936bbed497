"""`stoker tui`: opens the cockpit, or prints what it would show where there is no terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.run.directory import DEFAULT_PARENT

if TYPE_CHECKING:
    from stoker.run.directory import RunDirectory
    from stoker_tui.models.session import Session


@click.command("tui", help="Compose, start and watch runs in this terminal.")
@click.argument("run", required=False)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_PARENT,
    show_default=True,
    help="Folder that holds runs.",
)
@click.option("--read-only", is_flag=True, help="Keys that change something do nothing.")
@click.option("--ascii", "plain_ascii", is_flag=True, help="No characters beyond ASCII.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
def tui(run: str | None, run_dir: Path, read_only: bool, plain_ascii: bool, no_mouse: bool) -> None:
    """Open the cockpit, on a run where one is named."""
    from stoker.cli.terminal import missing_terminal

    if reason := missing_terminal():
        _print_plainly(run, run_dir, reason)
        return
    from stoker_tui.models.places import settings_path
    from stoker_tui.models.session import Options, Session
    from stoker_tui.models.settings import read_settings

    options = Options(read_only, plain_ascii or not _writes_unicode(), not no_mouse)
    session = Session(run_dir, options, settings=read_settings(settings_path()))
    session.run = _run_in_front(session, run)
    sys.exit(_open(session, "watch" if run else "runs"))


def _open(session: Session, start: str) -> int:
    from stoker_tui import themes
    from stoker_tui.app import Cockpit
    from stoker_tui.bindings import all_ids
    from stoker_tui.models.keymap import Keymap, read_keymap
    from stoker_tui.models.places import keys_path
    from stoker_tui.terminal import HUNG_UP_EXIT_CODE, colours_of, driver_for, watch_for_hangup

    keymap = read_keymap(keys_path(), all_ids()) if keys_path().exists() else Keymap()
    colours = colours_of(os.environ)
    if colours == "none":
        # For Textual, which asks nothing else, and for commands that are started here.
        os.environ["NO_COLOR"] = "1"
    few = colours in ("none", "16")
    problem = session.settings.problem
    cockpit = Cockpit(
        session,
        start,
        driver_class=driver_for(ascii_only=session.options.ascii, colours=colours),
        theme=themes.SIXTEEN_COLOURS if few else session.settings.get("view", "theme", themes.DARK.name),
        keymap=keymap.keys,
        notes=(*([problem] if problem else []), *keymap.problems),
    )
    watch_for_hangup(lambda: cockpit.call_from_thread(cockpit.exit, return_code=HUNG_UP_EXIT_CODE))
    cockpit.run(mouse=session.options.mouse)
    return cockpit.return_code or 0


def _run_in_front(session: Session, name: str | None) -> RunDirectory | None:
    """The run that is named, which must exist; else the one looked at last, if it still does."""
    from stoker.errors import UsageError
    from stoker.run.directory import find_run

    if name:
        return find_run(name, session.folder)
    try:
        remembered = session.settings.get("session", "run")
        return find_run(remembered, session.folder) if remembered else None
    except UsageError:
        return None


def _print_plainly(run: str | None, run_dir: Path, reason: str) -> None:
    """The table of runs, or one run watched to its end."""
    from stoker.cli.runs import command as runs
    from stoker.run.directory import find_run
    from stoker.run.progress import make_view
    from stoker.run.watching import summarise, watch_run

    click.echo(f"The cockpit needs a terminal: {reason}.", err=True)
    if run is None:
        click.get_current_context().invoke(runs, run_dir=run_dir)
        return
    directory = find_run(run, run_dir)
    record = watch_run(directory, make_view(sys.stdout, plain=True))
    for line in summarise(directory, record):
        click.echo(line)


def _writes_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")

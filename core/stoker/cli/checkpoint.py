"""`stoker checkpoint`: ask a run to save now and go on."""

from __future__ import annotations

import time
from pathlib import Path

import click

from stoker.cli.run_options import print_json, run_argument
from stoker.errors import StokerError, UsageError
from stoker.run.control import request
from stoker.run.directory import RunDirectory, find_run
from stoker.run.events import Event, EventTail
from stoker.run.record import ACTIVE_STATES
from stoker.run.watching import relative

_POLL_SECONDS = 0.2


@click.command(help="Save a checkpoint of a run now.\n\nThe run goes on. Waits until it has saved.")
@run_argument
@click.option("--no-wait", is_flag=True, help="Return as soon as the request is written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: str, run_dir: Path, no_wait: bool, as_json: bool) -> None:
    """Write the request, wait for the commit, say where it lies."""
    directory = find_run(run, run_dir)
    state = directory.effective_state()
    if state not in ACTIVE_STATES:
        raise UsageError(
            f"run {directory.name!r} does not run: it is {state}.",
            hint="Its checkpoints: stoker show " + directory.name,
        )
    tail = EventTail(directory.events_path)
    tail.read()
    request(directory, "checkpoint")
    event = None if no_wait else wait_for_commit(directory, tail)
    if as_json:
        print_json({"name": directory.name, "checkpoint": event and event["name"]})
    elif event is None:
        click.echo(f"{directory.name} was asked for a checkpoint.")
    else:
        click.echo(f"saved {relative(directory.checkpoints_path / event['name'])}")


def wait_for_commit(directory: RunDirectory, tail: EventTail) -> Event:
    """The event of the next checkpoint's commit: one that was begun before does not count.

    Raises `StokerError` if there will be none.
    """
    begun: set[str] = set()
    while True:
        over = directory.effective_state() not in ACTIVE_STATES
        for event in tail.read():
            if event["kind"] != "checkpoint":
                continue
            if event.get("phase") == "started":
                begun.add(event["name"])
            elif event["name"] not in begun:
                continue
            elif event.get("phase") == "failed":
                raise StokerError(f"the checkpoint could not be written: {event.get('message')}.")
            elif event.get("phase") == "committed":
                return event
        if over:
            raise StokerError(
                f"{directory.name} ended without a new checkpoint.",
                hint=f"See: stoker show {directory.name}",
            )
        time.sleep(_POLL_SECONDS)

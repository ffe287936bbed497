"""`stoker stop`: ask a run to save and stop."""

from __future__ import annotations

import time
from pathlib import Path

import click

from stoker.cli.run_options import print_json, run_argument
from stoker.cli.runs import read_effective
from stoker.run.control import request
from stoker.run.directory import find_run
from stoker.run.record import ACTIVE_STATES, RunRecord
from stoker.run.watching import handle

_POLL_SECONDS = 0.2


@click.command(help="Save a run and stop it.\n\nWaits until it has. `stoker resume` goes on with it.")
@run_argument
@click.option("--no-wait", is_flag=True, help="Return as soon as the request is written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: str, run_dir: Path, no_wait: bool, as_json: bool) -> None:
    """Write the request, wait for the end, say where the run stands."""
    directory = find_run(run, run_dir)
    record = read_effective(directory)
    was_active = record.state in ACTIVE_STATES
    if was_active:
        request(directory, "stop")
        while not no_wait and record.state in ACTIVE_STATES:
            time.sleep(_POLL_SECONDS)
            record = read_effective(directory)
    if as_json:
        print_json({"name": record.name, "state": record.state, "step": record.step})
    else:
        click.echo(_answer(record, handle(directory), was_active))


def _answer(record: RunRecord, name: str, was_active: bool) -> str:
    if not was_active:
        return f"{record.name} does not run: it is {record.state}."
    if record.state in ACTIVE_STATES:
        return f"{record.name} was asked to stop. Follow it with: stoker watch {name}"
    if record.state in ("done", "failed"):
        return f"{record.name} is {record.state} at step {record.step}."
    return f"{record.name} is {record.state} at step {record.step}. Go on with: stoker resume {name}"

"""`stoker runs`: list runs."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stoker.cli.run_options import print_json
from stoker.run.directory import DEFAULT_PARENT, RunDirectory, list_runs
from stoker.run.events import last_step
from stoker.run.lines import format_seconds
from stoker.run.record import ACTIVE_STATES, RunRecord


@click.command(help="List runs.\n\nOldest first.")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_PARENT,
    show_default=True,
    help="Folder that holds runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run_dir: Path, as_json: bool) -> None:
    """Print a table, or `{"runs": [...]}`."""
    found = [(directory, read_effective(directory)) for directory in list_runs(run_dir)]
    if as_json:
        print_json({"runs": [as_dict(directory, record) for directory, record in found]})
    elif not found:
        click.echo(f"There are no runs in {run_dir}.")
    else:
        print_table([_row(record) for _, record in found])


def read_effective(directory: RunDirectory) -> RunRecord:
    """The record, with `lost` where the supervisor is gone, and the step that training is at."""
    record = directory.read_record()
    step = max(record.step, last_step(directory.events_path)) if record.ended is None else record.step
    return record.changed(state=directory.effective_state(record), step=step)


def as_dict(directory: RunDirectory, record: RunRecord) -> dict[str, Any]:
    """The record's values and the directory's path."""
    return {**asdict(record), "directory": str(directory.path)}


def _row(record: RunRecord) -> tuple[str, ...]:
    steps = f"{record.step}/{record.total_steps}" if record.total_steps else str(record.step)
    return record.name, record.state, steps, str(record.attempt), duration(record)


def duration(record: RunRecord) -> str:
    """How long the latest attempt took, or has taken so far."""
    if record.started is None:
        return "-"
    if record.ended is None and record.state not in ACTIVE_STATES:
        return "-"
    return format_seconds((record.ended or time.time()) - record.started)


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they need to be."""
    rows = [("name", "state", "step", "attempt", "time"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())

"""`stoker runs`: list runs."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from stoker.cli.run_options import print_json
from stoker.run.directory import DEFAULT_PARENT, RunDirectory
from stoker.run.events import last_step
from stoker.run.lines import format_number, format_seconds, format_usd
from stoker.run.overview import DAMAGED, RunRow, list_rows, row_dict
from stoker.run.query import KEYS, parse_query
from stoker.run.record import ACTIVE_STATES, RunRecord
from stoker.run.row_keys import sort_rows

_HEAD = ("name", "state", "step", "loss", "tokens/s", "spent", "ETA", "attempt", "time")


@click.command(
    help="List runs.\n\nOldest first. QUERY is made of words, key:text, key<number, has:key, /regex/, "
    f"NOT, OR and parentheses. Keys: {', '.join(KEYS)}."
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_PARENT,
    show_default=True,
    help="Folder that holds runs.",
)
@click.option("--query", default="", help='Only such runs, for example "state:run loss<2".')
@click.option(
    "--sort",
    type=click.Choice([sign + key for key in KEYS for sign in ("", "-")]),
    metavar="KEY",
    help="Order by a key of queries; -KEY: the greatest first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run_dir: Path, query: str, sort: str | None, as_json: bool) -> None:
    """Print a table, or `{"runs": [...], "damaged": [...]}`."""
    wanted, now = parse_query(query), time.time()
    everything = list_rows(run_dir)
    rows = [row for row in everything if wanted.matches(row, now)]
    if sort is not None:
        rows = sort_rows(rows, sort.removeprefix("-"), descending=sort.startswith("-"), now=now)
    if as_json:
        print_json(_as_json(rows))
    elif not everything:
        click.echo(f"There are no runs in {run_dir}.")
    elif not rows:
        click.echo(f"None of {len(everything)} runs in {run_dir} is like that.")
    else:
        print_table([_row(row, now) for row in rows])


def _as_json(rows: list[RunRow]) -> dict[str, Any]:
    runs = [
        {**as_dict(RunDirectory(row.path), row.record), **row_dict(row)}
        for row in rows
        if row.record is not None
    ]
    damaged = [
        {"name": row.name, "directory": str(row.path), "problem": row.note}
        for row in rows
        if row.state == DAMAGED
    ]
    return {"runs": runs, "damaged": damaged}


def read_effective(directory: RunDirectory) -> RunRecord:
    """The record, with `lost` where the supervisor is gone, and the step that training is at."""
    record = directory.read_record()
    step = max(record.step, last_step(directory.events_path)) if record.ended is None else record.step
    return record.changed(state=directory.effective_state(record), step=step)


def as_dict(directory: RunDirectory, record: RunRecord) -> dict[str, Any]:
    """The record's values and the directory's path."""
    return {**asdict(record), "directory": str(directory.path)}


def _row(row: RunRow, now: float) -> tuple[str, ...]:
    if row.state == DAMAGED:
        return row.name, row.state, row.note
    seconds = row.seconds(now)
    return (
        row.name,
        row.state,
        f"{row.step}/{row.total_steps}" if row.total_steps else str(row.step),
        "-" if row.loss is None else format_number(row.loss),
        "-" if row.tokens_per_second is None else format_number(row.tokens_per_second, ",.0f"),
        "-" if row.usd is None else format_usd(row.usd),
        "-" if row.eta_seconds is None else format_seconds(row.eta_seconds),
        str(row.attempt),
        "-" if seconds is None else format_seconds(seconds),
    )


def duration(record: RunRecord) -> str:
    """How long the latest attempt took, or has taken so far."""
    if record.started is None:
        return "-"
    if record.ended is None and record.state not in ACTIVE_STATES:
        return "-"
    return format_seconds((record.ended or time.time()) - record.started)


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they need to be; the last cell of a shorter row may be longer than them."""
    rows = [_HEAD, *rows]
    full = [row for row in rows if len(row) == len(_HEAD)]
    names = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    widths = [*names, *(max(len(row[column]) for row in full) for column in range(2, len(_HEAD)))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        click.echo("  ".join(cells).rstrip())

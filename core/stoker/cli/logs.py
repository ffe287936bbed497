"""`stoker logs`: what a rank wrote to standard output and error."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click

from stoker.cli.run_options import run_argument
from stoker.errors import UsageError
from stoker.run.directory import RunDirectory, find_run
from stoker.run.lines import clean
from stoker.run.record import ACTIVE_STATES

_POLL_SECONDS = 0.2


@click.command(
    help="Print what the ranks of a run wrote.\n\nOne rank's log: the first that failed, else rank 0."
)
@run_argument
@click.option("--rank", type=click.IntRange(0), help="Another rank's log.")
@click.option("--attempt", type=click.IntRange(1), help="An earlier attempt's; default: the latest.")
@click.option("--lines", "-n", type=click.IntRange(0), help="Only the last so many lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on as the log grows, until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Print lines as JSON objects.")
def command(
    run: str,
    run_dir: Path,
    rank: int | None,
    attempt: int | None,
    lines: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Print lines, control characters made harmless."""
    directory = find_run(run, run_dir)
    record = directory.read_record()
    attempt = attempt or max(record.attempt, 1)
    if rank is None:
        failed_now = record.error is not None and attempt == record.attempt
        rank = record.error["rank"] if failed_now and record.error else 0
    path = directory.log_path(attempt, rank)
    if not path.is_file():
        raise UsageError(
            f"there is no log of rank {rank} in attempt {attempt}.", hint=_what_there_is(directory)
        )
    for line in _lines(directory, path, lines, follow):
        if as_json:
            click.echo(json.dumps({"attempt": attempt, "rank": rank, "line": line}))
        else:
            click.echo(clean(line))


def _what_there_is(directory: RunDirectory) -> str:
    paths = sorted(directory.attempt_path(1).parent.glob("attempt-*/rank-*.log"))
    names = [f"{path.parent.name}/{path.stem}" for path in paths]
    return f"There are: {', '.join(names[:8])}." if names else "No rank has been started yet."


def _lines(directory: RunDirectory, path: Path, count: int | None, follow: bool) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in deque(file, maxlen=count):
            yield line.rstrip("\n")
        while follow:
            over = directory.effective_state() not in ACTIVE_STATES
            for line in file:
                yield line.rstrip("\n")
            if over:
                return
            time.sleep(_POLL_SECONDS)

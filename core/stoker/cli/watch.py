"""`stoker watch`: follow a run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stoker.cli.run_options import output_options, report_end, run_argument
from stoker.errors import ExitCode
from stoker.run.directory import find_run
from stoker.run.progress import make_view
from stoker.run.watching import handle, watch_run


@click.command(
    help="Watch a run until it ends.\n\nOr replay one that has ended. Ctrl-C leaves the run alone."
)
@run_argument
@output_options
def command(run: str, run_dir: Path, plain: bool, as_json: bool) -> None:
    """Show events; exit with the run's exit code."""
    directory = find_run(run, run_dir)
    view = make_view(sys.stdout, plain=plain, as_json=as_json)
    try:
        record = watch_run(directory, view)
    except KeyboardInterrupt:
        click.echo(
            f"\n{directory.name} goes on. Stop it with: stoker stop {handle(directory)}", err=True
        )
        sys.exit(ExitCode.DONE)
    sys.exit(report_end(directory, record, quiet=as_json))

"""`stoker verify`: are a run's checkpoints what they were when they were written?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from stoker.checkpoint.finding import Checkpoint, examine, unfinished
from stoker.cli.run_options import print_json, run_argument
from stoker.errors import ExitCode, StorageError
from stoker.run.directory import RunDirectory, find_run
from stoker.run.watching import handle


@click.command(
    help="Check the integrity of a run's checkpoints.\n\nReads every file and compares it with the "
    "manifest. Exits with 73 if any is damaged."
)
@run_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: str, run_dir: Path, as_json: bool) -> None:
    """Newest first, each as soon as it is read."""
    directory = find_run(run, run_dir)
    found = []
    for checkpoint, problem in examine(directory.checkpoints_path, directory.read_record().id):
        facts = describe(checkpoint, problem)
        found.append(facts)
        if not as_json:
            click.echo(_line(facts))
    leftovers = [path.name for path in unfinished(directory.checkpoints_path)]
    newest = next((facts["name"] for facts in found if facts["ok"]), None)
    damaged = any(not facts["ok"] for facts in found)
    if as_json:
        print_json(
            {
                "name": directory.name,
                "ok": not damaged,
                "newest_valid": newest,
                "checkpoints": found,
                "unfinished": leftovers,
            }
        )
    else:
        _say(directory, newest, damaged, leftovers)
    sys.exit(int(ExitCode.STORAGE) if damaged else int(ExitCode.DONE))


def describe(checkpoint: Checkpoint, problem: str) -> dict[str, Any]:
    """What is printed of one; sizes are null where its manifest is damaged."""
    try:
        num_files = len(checkpoint.manifest.files)
        sizes: dict[str, int | None] = {"bytes": checkpoint.num_bytes, "files": num_files}
    except StorageError:
        sizes = {"bytes": None, "files": None}
    return {"name": checkpoint.path.name, "ok": not problem, "problem": problem, **sizes}


def _line(facts: dict[str, Any]) -> str:
    if not facts["ok"]:
        return f"{facts['name']}  DAMAGED: {facts['problem']}"
    return f"{facts['name']}  ok  {facts['bytes'] / 1e6:,.1f} MB in {facts['files']} files"


def _say(directory: RunDirectory, newest: str | None, damaged: bool, leftovers: list[str]) -> None:
    name = handle(directory)
    if leftovers:
        click.echo(f"{len(leftovers)} unfinished, which the next start deletes: {', '.join(leftovers)}")
    if newest is None:
        click.echo(f"{name} has no checkpoint{' that could be resumed from' if damaged else ' yet'}.")
    elif damaged and directory.read_record().state == "done":
        step = int(newest.removeprefix("step-"))
        click.echo(f"The newest that is whole: stoker export {name} --step {step} --to DIRECTORY")
    elif damaged:
        click.echo(f"stoker resume {name} would go on from {newest}.")

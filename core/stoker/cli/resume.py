"""`stoker resume`: go on with a run from its newest valid checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from stoker.cli.run import make_topology
from stoker.cli.run_options import (
    launch_options,
    output_options,
    run_argument,
    say_aside,
    start_and_attend,
)
from stoker.errors import UsageError
from stoker.registry import make_plugins
from stoker.run.budget import find_tariff, refuse_over_budget
from stoker.run.changes import change_recipe, list_changes
from stoker.run.directory import RunDirectory, find_run
from stoker.run.record import ACTIVE_STATES
from stoker.run.skips import describe_skips, read_skips, with_skip
from stoker.run.watching import handle


@click.command(
    help="Go on with a run that stopped.\n\nFrom its newest valid checkpoint, on as many ranks."
)
@run_argument
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value; repeatable."
)
@click.option(
    "--allow-change",
    "allowed",
    multiple=True,
    metavar="KEY",
    help="Needed for values that change training.",
)
@click.option(
    "--skip-batches",
    type=click.IntRange(1),
    metavar="N",
    help="Leave out N batches, beginning with the one whose loss or gradient was not finite.",
)
@click.option("--detach", is_flag=True, help="Return at once; the run goes on without this terminal.")
@launch_options
@output_options
def command(
    run: str,
    run_dir: Path,
    overrides: tuple[str, ...],
    allowed: tuple[str, ...],
    skip_batches: int | None,
    detach: bool,
    nproc: int | None,
    nnodes: int | None,
    node_rank: int,
    rendezvous: str | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Apply changes to the locked recipe and to the order of batches, then launch and watch."""
    from stoker.recipe.loading import require_sound
    from stoker.recipe.lock import read_lock, write_lock

    directory = find_run(run, run_dir)
    require_resumable(directory, changed=bool(overrides))
    # A change may take out the variable that is not set here.
    recipe = read_lock(directory.lock_path, allow_unset=bool(overrides))
    if overrides or allowed:
        before, recipe = recipe, change_recipe(recipe, overrides, allowed)
        # Values of plugins are checked by making them, as the ranks will.
        require_sound(recipe, make_plugins(recipe.plugins))
        for change in list_changes(before, recipe):
            # With --json, standard output is for events.
            click.echo(change.render(), err=as_json)
    nproc = nproc or ranks_before(directory, overrides)
    topology = make_topology(recipe, nproc, nnodes, node_rank, rendezvous)
    tariff = find_tariff(recipe)
    refuse_over_budget(directory, tariff)

    def apply() -> None:
        if overrides or allowed:
            write_lock(recipe, directory.lock_path)
            directory.update_record(recipe_hash=recipe.fingerprint())
        if (facts := facts_with_skip(directory, skip_batches)) is not None:
            record = directory.update_record(facts=facts)
            click.echo(f"left out: {describe_skips(read_skips(record))}", err=as_json)

    sys.exit(
        start_and_attend(
            directory,
            topology,
            detach=detach,
            plain=plain,
            as_json=as_json,
            change=apply,
            tariff=tariff,
        )
    )


def ranks_before(directory: RunDirectory, overrides: Sequence[str]) -> int | None:
    """Ranks on each node in the latest attempt; None if there was none or the recipe is told now."""
    record = directory.read_record()
    told = any(override.startswith("launch.") for override in overrides)
    return None if told or record.attempt == 0 else record.nproc


def facts_with_skip(directory: RunDirectory, batches: int | None) -> dict[str, Any] | None:
    """The record's facts with so many more batches left out; None where none are.

    Raises `UsageError` where the run did not fail at a batch.
    """
    if batches is None:
        return None
    return with_skip(directory.read_record(), batches, handle(directory))


def require_resumable(directory: RunDirectory, *, changed: bool) -> None:
    """Raise `UsageError` for a run that works, or is done and told to do nothing else."""
    state = directory.settled_state(say_aside)
    if state in ACTIVE_STATES:
        raise UsageError(
            f"run {directory.name!r} is {state}.",
            hint=f"Look at it with: stoker watch {directory.name}",
        )
    if state == "done" and not changed:
        raise UsageError(
            f"run {directory.name!r} is done.",
            hint="To train on, add for example: --set train.steps=2000 --allow-change train.steps",
        )

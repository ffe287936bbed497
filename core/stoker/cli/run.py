"""`stoker run`: train what a recipe says."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click

from stoker.cli.run_options import (
    launch_options,
    output_options,
    passing_signals_on,
    print_json,
    say_aside,
    start_and_attend,
)
from stoker.recipe.data_checks import DataInspector
from stoker.recipe.loading import load_recipe
from stoker.recipe.model import Recipe
from stoker.run.budget import find_tariff, refuse_over_budget
from stoker.run.launch import launch_node
from stoker.run.naming import Choice, choose_run, open_chosen
from stoker.run.ranks import Topology
from stoker.run.restarts import refuse_on_several_nodes
from stoker.run.watching import relative


@click.command(
    help="Train what a recipe describes.\n\nA run of that name that was stopped goes on; after one that "
    "is done, a new one begins."
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value; repeatable."
)
@click.option("--run-dir", type=click.Path(), help="Folder that holds runs; same as run.directory.")
@click.option("--detach", is_flag=True, help="Return at once; the run goes on without this terminal.")
@click.option("--fresh", is_flag=True, help="A new run, whatever runs of that name there are.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be started.")
@launch_options
@output_options
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    run_dir: str | None,
    detach: bool,
    fresh: bool,
    dry_run: bool,
    nproc: int | None,
    nnodes: int | None,
    node_rank: int,
    rendezvous: str | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Load, choose the directory, launch, watch."""
    if run_dir is not None:
        overrides = (*overrides, f"run.directory={json.dumps(run_dir)}")
    loaded = load_recipe(recipe, overrides, DataInspector())
    if started_by_other_launcher():
        from stoker.train.garbage import exit_without_collecting
        from stoker.train.worker import run_under_launcher

        exit_without_collecting(run_under_launcher(loaded, fresh=fresh))
    topology = make_topology(loaded, nproc, nnodes, node_rank, rendezvous)
    if topology.node_rank > 0 and not dry_run:
        sys.exit(attend_node(loaded, topology))
    tariff = find_tariff(loaded)
    choice = choose_run(Path(loaded.run.directory), loaded, fresh, say_aside)
    if choice.resume:
        refuse_over_budget(choice.directory, tariff)
    if dry_run:
        describe(loaded, choice, topology, as_json)
        return
    for change in choice.changes:
        # With --json, standard output is for events.
        click.echo(change.render(), err=as_json)
    sys.exit(
        start_and_attend(
            open_chosen(choice, loaded),
            topology,
            detach=detach,
            plain=plain,
            as_json=as_json,
            change=partial(choice.adopt, loaded),
            tariff=tariff,
        )
    )


def started_by_other_launcher(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether we are one rank of torchrun, accelerate launch or srun, which must not start ranks."""
    if "STOKER_STORE" in environment:
        return False
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return True
    # In a batch script outside of srun, Slurm sets SLURM_NTASKS and SLURM_PROCID, too, but no step.
    return "SLURM_PROCID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def make_topology(
    recipe: Recipe, nproc: int | None, nodes: int | None, node_rank: int, rendezvous: str | None
) -> Topology:
    """The command line's numbers, else the recipe's. Raises `UsageError` if they cannot be."""
    launch = recipe.launch
    topology = Topology(
        nproc or launch.gpus_per_node, nodes or launch.nodes, node_rank, rendezvous or ""
    )
    refuse_on_several_nodes(launch.max_restarts, topology)
    return topology


def attend_node(recipe: Recipe, topology: Topology) -> int:
    """Start the ranks of a node other than the first and wait; node 0 has the run directory."""
    from stoker.recipe.lock import write_lock

    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        lock_path = Path(folder) / "recipe.lock.json"
        write_lock(recipe, lock_path)
        launched = launch_node(topology, lock_path)
        with passing_signals_on(launched.process.pid):
            return launched.process.wait()


def describe(recipe: Recipe, choice: Choice, topology: Topology, as_json: bool) -> None:
    """Say what would be started."""
    train = recipe.train
    facts = {
        "name": choice.directory.name,
        "directory": relative(choice.directory.path),
        "resume": choice.resume,
        "ranks": topology.world_size,
        "nodes": topology.nodes,
        "steps": train.steps,
        "epochs": train.epochs,
        "batch_size": train.batch_size,
        "plugins": sorted(recipe.plugins),
    }
    if as_json:
        print_json(facts)
        return
    how = "goes on" if choice.resume else "new"
    length = f"{train.steps} steps" if train.steps is not None else f"{train.epochs:g} epochs"
    click.echo(f"run      {facts['name']} ({how}, in {facts['directory']})")
    click.echo(f"ranks    {topology.world_size} on {topology.nodes} node(s)")
    click.echo(f"length   {length} of {train.batch_size} rows")
    click.echo(f"plugins  {', '.join(sorted(recipe.plugins)) or 'none'}")
    click.echo("Nothing was started.")

"""`stoker equivalence`: train the same recipe under every engine and setting, and compare."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stoker.cli.run_options import print_json
from stoker.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from stoker.equivalence.compare import Row
    from stoker.equivalence.settings import Setting
    from stoker.recipe.model import Recipe

NAME_WIDTH = 44
TINY = ("train.batch_size=8", "train.learning_rate=1e-3", "train.schedule=constant")
"""Changes of the test kit's recipe, where none is given."""


@click.command(help="Compare engines and settings with a single process, step by step.")
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option(
    "--tiny", is_flag=True, help="A tiny model of the recipe's architecture, and few short rows a step."
)
@click.option("--nproc", type=click.IntRange(1), default=2, show_default=True, help="Ranks.")
@click.option("--steps", type=click.IntRange(1), default=5, show_default=True, help="Steps of each.")
@click.option(
    "precisions",
    "--precision",
    multiple=True,
    default=("fp32", "bf16_mixed"),
    show_default=True,
    help="The first with every setting, others with every engine; repeatable.",
)
@click.option("engines", "--engine", multiple=True, help="Only this engine; repeatable.  [default: all]")
@click.option(
    "overrides", "--set", metavar="KEY=VALUE", multiple=True, help="Change a value; repeatable."
)
@click.option("as_json", "--json", is_flag=True, help="Print JSON.")
def command(
    recipe: Path | None,
    tiny: bool,
    nproc: int,
    steps: int,
    precisions: tuple[str, ...],
    engines: tuple[str, ...],
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Exit with 1 if a setting differs by more than its bound, or fails."""
    from stoker.capabilities import PRECISIONS
    from stoker.equivalence.compare import compare

    if unknown := [name for name in precisions if name not in PRECISIONS]:
        raise click.UsageError(f"--precision {unknown[0]}: there are {', '.join(PRECISIONS)}.")
    with tempfile.TemporaryDirectory(prefix="stoker-equivalence-") as name:
        folder = Path(name)
        base = prepare(recipe, overrides, tiny, folder)
        chosen = choose_settings(base, nproc, precisions, engines)
        report = _say_nothing if as_json else _say
        if not as_json:
            click.echo(f"{'setting':{NAME_WIDTH}}  ranks  loss      norm      verdict")
        rows = compare(base, chosen, steps, folder, report)
    bad = [row for row in rows if row.verdict in ("differs", "failed")]
    if as_json:
        print_json({"ok": not bad, "steps": steps, "rows": [_as_json(row) for row in rows]})
    else:
        click.echo(_summary(rows))
    return int(ExitCode.FAILED if bad else ExitCode.DONE)


def prepare(recipe: Path | None, overrides: tuple[str, ...], tiny: bool, folder: Path) -> Recipe:
    """The recipe whose settings are compared; a tiny one is written to `folder`."""
    from stoker.recipe.loading import load_recipe
    from stoker.recipe.lock import write_lock

    if recipe is None:
        _run_job("--to", str(folder))
        return load_recipe(folder / "tiny.toml", [*TINY, *overrides])
    loaded = load_recipe(recipe, overrides)
    if not tiny:
        return loaded
    write_lock(loaded, folder / "recipe.lock.json")
    _run_job("--to", str(folder), "--lock", str(folder / "recipe.lock.json"))
    smaller = {
        "model.path": (folder / "model").as_posix(),
        "model.initial_weights": "random",
        "data.sequence_length": min(loaded.data.sequence_length, 128),
        "train.batch_size": min(loaded.train.batch_size, 8),
        "train.micro_batch_size": 2,
    }
    return load_recipe(recipe, [*overrides, *(f"{key}={value}" for key, value in smaller.items())])


def _run_job(*arguments: str) -> None:
    # -P: a file in the current folder must not be taken for a library of its name.
    job = [sys.executable, "-P", "-m", "stoker.train.tiny_shape", *arguments]
    # Libraries announce themselves there; errors come on the other stream.
    if code := subprocess.run(job, stdout=subprocess.DEVNULL).returncode:
        sys.exit(code)


def choose_settings(
    recipe: Recipe, nproc: int, precisions: tuple[str, ...], engines: tuple[str, ...]
) -> list[Setting]:
    """Every setting of the installed plugins that the recipe's own choices do not rule out.

    Raises `UsageError` for an engine that there is not.
    """
    from stoker.cli.matrix import load_all
    from stoker.equivalence.settings import settings
    from stoker.equivalence.variants import fixed_values
    from stoker.matrix import Matrix
    from stoker.recipe.problems import did_you_mean

    classes, failures = load_all()
    for message in failures.values():
        click.echo(f"stoker: left out: {message}", err=True)
    matrix = Matrix(classes)
    known = matrix.axes["engine"]
    if unknown := [name for name in engines if name not in known]:
        hint = did_you_mean(unknown[0], known) or f"There are {', '.join(known)}."
        raise UsageError(f"there is no engine {unknown[0]!r}.", hint=hint)
    values = fixed_values(recipe)
    size = recipe.train.batch_size
    return list(settings(matrix, values, size, nproc, precisions, engines or known))


def _as_json(row: Row) -> dict[str, Any]:
    return {**asdict(row), "bounds": row.bounds._asdict()}


def _say(row: Row) -> None:
    name = f"{row.precision}, {row.name}" if row.precision != "fp32" else row.name
    numbers = [
        "-" if value is None else f"{value:.1e}" for value in (row.loss_difference, row.norm_difference)
    ]
    line = f"{name:{NAME_WIDTH}}  {row.ranks:5}  {numbers[0]:8}  {numbers[1]:8}  {row.verdict}"
    click.echo(line.rstrip())
    if row.message:
        click.echo(f"    {row.message}")


def _say_nothing(row: Row) -> None:
    """JSON is printed at the end."""


def _summary(rows: list[Row]) -> str:
    counts = {
        verdict: sum(row.verdict == verdict for row in rows)
        for verdict in ("equal", "differs", "failed", "not here")
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    bounds = "; ".join(
        f"{precision}: loss {bounds.loss:g}, norm {bounds.norm:g}"
        for precision, bounds in {row.precision: row.bounds for row in rows}.items()
    )
    return f"\n{told}. Largest relative differences from one process. Bounds: {bounds}."

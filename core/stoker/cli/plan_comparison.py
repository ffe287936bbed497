"""`stoker plan --compare`: what fits, ranked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from stoker.cli.matrix import load_all
from stoker.cli.run_options import print_json
from stoker.plan.compare import compare
from stoker.plan.question import UNKNOWN_STEPS, make_question
from stoker.run.lines import format_bytes

if TYPE_CHECKING:
    from stoker.plan.compare import Comparison
    from stoker.plan.gpus import Gpu
    from stoker.plan.plan import Plan, Target
    from stoker.plan.ranking import Candidate
    from stoker.recipe.model import Recipe

_MARKS = "$ cheapest, > fastest, * no other is both cheaper and faster"
_HEADINGS = ("GPUs", "engine", "checkpointing", "offload", "rows", "memory", "hours", "USD")


def print_comparison(
    recipe: Recipe,
    plan: Plan,
    target: Target,
    *,
    gpus: int | None,
    by: Literal["cost", "time"],
    as_json: bool,
    **options: Any,
) -> None:
    """The best candidates, as a table or as JSON; `options` are the others of `rank_candidates`."""
    ranked = rank_candidates(recipe, plan, target, gpus=gpus, by=by, **options)
    for message in ranked.left_out:
        click.echo(f"stoker: left out: {message}", err=True)
    if as_json:
        print_json(_as_dict(ranked))
        return
    comparison, shown = ranked.comparison, ranked.shown
    for line in _table([_HEADINGS, *map(_row, shown)]) if shown else ():
        click.echo(line)
    fitting = f"{len(comparison.candidates):,} of {comparison.considered:,} combinations fit"
    if shown:
        click.echo(f"\n{fitting}, the best by {by} are shown; {_MARKS}")
    elif comparison.considered:
        click.echo(f"{fitting}: try other GPUs, or --any-method.")
    else:
        rows = recipe.train.batch_size
        click.echo(f"train.batch_size = {rows} cannot be shared evenly by {gpus} GPUs.")
    for note in ranked.notes:
        click.echo(f"  - {note}")


def comparison_as_dict(recipe: Recipe, plan: Plan, target: Target, **options: Any) -> dict[str, Any]:
    """What `stoker plan --compare --json` prints; `options` are those of `rank_candidates`."""
    return _as_dict(rank_candidates(recipe, plan, target, **options))


class Ranked(NamedTuple):
    """A comparison, and what of it is shown."""

    comparison: Comparison
    shown: tuple[Candidate, ...]
    notes: list[str]
    left_out: list[str]
    """Why plugins did not load."""


def rank_candidates(
    recipe: Recipe,
    plan: Plan,
    target: Target,
    *,
    gpu: Gpu | None,
    gpus: int | None,
    methods: bool,
    by: Literal["cost", "time"],
    limit: int,
    everything: bool,
) -> Ranked:
    """Of each method on each number of GPUs of a type the best one, at most `limit` of them.

    All of them if `everything` is asked for.
    """
    classes, failures = load_all()
    question = make_question(recipe, plan, target, gpu=gpu, gpus=gpus, methods=methods)
    comparison = compare(question, classes, by=by)
    notes = list(comparison.notes)
    if plan.steps is None:
        notes.append(f"the number of steps is not known: hours and dollars are of {UNKNOWN_STEPS:,}.")
    ranked = comparison.candidates if everything else _best_of_each(comparison.candidates)
    return Ranked(comparison, ranked[:limit], notes, list(failures.values()))


def _best_of_each(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The first of each method, type and number of GPUs."""
    found: dict[tuple[str, ...], Candidate] = {}
    for candidate in candidates:
        method = (candidate.values.get("method", ""), candidate.values.get("quantization", ""))
        found.setdefault((candidate.gpu.name, str(candidate.gpus), *method), candidate)
    return tuple(found.values())


def _row(candidate: Candidate) -> tuple[str, ...]:
    values = candidate.values
    engine = values["engine"]
    if "method" in values:
        quantized = values.get("quantization", "none") != "none"
        engine = f"{'q' if quantized else ''}{values['method']}, {engine}"
    usd = "-" if candidate.usd is None else f"{candidate.usd:,.2f}"
    marks = "$" * candidate.is_cheapest + ">" * candidate.is_fastest
    marks += "*" * (candidate.on_front and not marks)
    nodes = f" on {candidate.nodes}" if candidate.nodes > 1 else ""
    return (
        f"{candidate.gpus} x {candidate.gpu.name}{nodes}",
        engine,
        values["checkpointing"],
        values["offload"],
        f"{candidate.micro_batch_rows} x {candidate.accumulation}",
        format_bytes(candidate.memory.total),
        f"{candidate.hours:,.3g}",
        f"{usd} {marks}".rstrip(),
    )


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _as_dict(ranked: Ranked) -> dict[str, Any]:
    comparison = ranked.comparison
    return {
        "candidates": [candidate_as_dict(candidate) for candidate in ranked.shown],
        "fitting": len(comparison.candidates),
        "considered": comparison.considered,
        "refused": dict(comparison.refused),
        "notes": ranked.notes,
    }


def candidate_as_dict(candidate: Candidate) -> dict[str, Any]:
    """A row of `stoker plan --compare --json`."""
    return {
        "gpu": candidate.gpu.name,
        "gpus": candidate.gpus,
        "nodes": candidate.nodes,
        "values": dict(candidate.values),
        "micro_batch_size": candidate.micro_batch_rows,
        "accumulation": candidate.accumulation,
        "total_bytes": round(candidate.memory.total),
        "capacity_bytes": round(candidate.memory.capacity),
        "hours": candidate.hours,
        "cost_usd": candidate.usd,
        "cheapest": candidate.is_cheapest,
        "fastest": candidate.is_fastest,
        "on_front": candidate.on_front,
        "changes": candidate.changes,
        "to_fill_in": candidate.to_fill_in,
    }

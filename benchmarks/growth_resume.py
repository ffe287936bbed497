"""Whether going on with a run takes longer, the more steps it has done: its events are that many.

Two runs of a tiny model are stopped after a few steps. Events of 1,000 and of 50,000 steps are then
written through the product's writer, and the runs go on in turns.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from growth_runs import resume, train_to, write_recipe

from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter, read_events
from stoker.testing import write_tiny_data

COST_EVERY = 1_000
"""Steps between two `cost` events: they come every ten seconds."""
STEPS = 1_000_000


def write_events(directory: RunDirectory, steps: int) -> float:
    """Put events of so many steps, like those that there are, behind them. Returns megabytes."""
    events = read_events(directory.events_path)
    writer = EventWriter(directory.events_path, attempt=1, rank=0)
    samples = {event["kind"]: event for event in events}
    heads = {"v", "t", "attempt", "rank", "kind"}
    step, cost = (
        {key: value for key, value in samples[kind].items() if key not in heads}
        for kind in ("step", "cost")
    )
    for number in range(1, steps + 1):
        writer.write("step", **{**step, "step": number})
        if number % COST_EVERY == 0 or number == steps:
            now = {"step": number} | ({"furthest_step": number} if "furthest_step" in cost else {})
            writer.write("cost", **(cost | now))
    writer.close()
    return directory.events_path.stat().st_size / 1e6


def resume_rows(young: int, old: int, rounds: int) -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, asked. Rounds alternate; the median of the ratios counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["STOKER_CACHE"] = str(folder / "cache")
        data = write_tiny_data(folder / "data.jsonl")
        runs, sizes = [], []
        for steps in (young, old):
            recipe = write_recipe(folder, f"steps_{steps}", data, "messages", STEPS, 4)
            runs.append(train_to(folder, recipe, 10))
            sizes.append(write_events(runs[-1], steps))
        pairs = []
        for number in range(rounds):
            if number % 2 == 0:
                first, second = resume(runs[0]), resume(runs[1])
            else:
                second, first = resume(runs[1]), resume(runs[0])
            pairs.append((first, second))
    rows = []
    for what, attribute in (("to the end of a step", "seconds"), ("processor time", "cpu_seconds")):
        values = [(getattr(a, attribute), getattr(b, attribute)) for a, b in pairs]
        ratios = [more / less for less, more in values]
        less, more = (statistics.median(side) for side in zip(*values, strict=True))
        measured = (
            f"{more:.2f} s and {less:.2f} s, ratio {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f}); events of {sizes[1]:.0f} MB"
        )
        rows.append((f"resume after {old:,} steps and after {young:,}, {what}", measured, "1.2"))
    return rows

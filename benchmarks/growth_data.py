"""A data set of a million short rows: preparing it, and going on in the middle of its epoch.

Each preparation is a process of its own with the byte tokenizer. The runs that go on have trained as
many steps of as many rows; one is in the middle of the large data set's only epoch then, the other in
one of many epochs of a small data set. They go on in turns.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from growth_runs import Start, resume, train_to, write_recipe

FORMAT = "completion"
BATCH_ROWS = 500


def write_rows(path: Path, count: int) -> Path:
    """So many rows of about ten tokens, no two of them alike."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({"prompt": f"{number} ", "completion": str(number % 97)}) + "\n")
    return path


def prepare_child(recipe_path: Path) -> None:
    """Prepare a recipe's data in this process and print what that took as JSON."""
    from stoker.data.index import prepare_index
    from stoker.recipe.loading import load_recipe
    from stoker.run.directory import RunDirectory
    from stoker.train.build import open_model_files, run_outside_training

    recipe = load_recipe(recipe_path)
    run = run_outside_training(recipe, RunDirectory(recipe_path.parent))
    open_model_files(run)
    before, mapped_before = _peak_megabytes(), _mapped_megabytes()
    started = time.perf_counter()
    kept = prepare_index(recipe, run.tokenizer, {}, lambda phase, done, total: None)
    seconds = time.perf_counter() - started
    facts = {
        "seconds": seconds,
        "before": before,
        "peak": _peak_megabytes(),
        "mapped": _mapped_megabytes() - mapped_before,
        "rows": len(kept.train),
    }
    print(json.dumps(facts))


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _mapped_megabytes() -> float:
    """Resident pages of files, which all processes share: those of the finished index among them."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssFile"].split()[0]) / 1024


def prepare(script: str, recipe: Path) -> dict[str, float]:
    """Prepare a recipe's data in a process of its own."""
    command = [sys.executable, script, "--prepare-child", str(recipe)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    facts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return facts


def data_rows(script: str, large: int, rounds: int) -> Iterator[tuple[str, str, str]]:
    """Rows of the table: what, measured, asked. `large` is the number of rows."""
    steps = large // BATCH_ROWS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["STOKER_CACHE"] = str(folder / "cache")
        recipes = {}
        for count in (large // 1000, large // 10, large):
            data = write_rows(folder / f"{count}.jsonl", count)
            recipes[count] = write_recipe(folder, f"rows_{count}", data, FORMAT, steps, BATCH_ROWS)
            facts = prepare(script, recipes[count])
            rate = f"{count / facts['seconds']:,.0f} rows/s"
            memory = (
                f"peak {facts['peak'] - facts['before']:+.0f} MB, {facts['mapped']:.0f} of it mapped"
            )
            yield f"preparing {count:,} rows", f"{facts['seconds']:.1f} s, {rate}, {memory}", ""
        yield from _middle_rows(folder, recipes[large // 1000], recipes[large], steps // 2, rounds)


def _middle_rows(
    folder: Path, small: Path, large: Path, step: int, rounds: int
) -> list[tuple[str, str, str]]:
    runs = [train_to(folder, recipe, step) for recipe in (small, large)]
    pairs: list[tuple[Start, Start]] = []
    for number in range(rounds):
        if number % 2 == 0:
            first, second = resume(runs[0]), resume(runs[1])
        else:
            second, first = resume(runs[1]), resume(runs[0])
        pairs.append((first, second))
    rows = [
        (f"resume at step {step:,}, the middle of the epoch, to the end of a step", "seconds", "+5 s"),
        ("... processor time", "cpu_seconds", ""),
        ("... peak memory of the rank", "peak_megabytes", "bounded"),
    ]
    return [(what, _compared(pairs, attribute), asked) for what, attribute, asked in rows]


def _compared(pairs: list[tuple[Start, Start]], attribute: str) -> str:
    values = [(getattr(a, attribute), getattr(b, attribute)) for a, b in pairs]
    unit = "MB" if attribute.endswith("megabytes") else "s"
    more = [large - small for small, large in values]
    small, large = (statistics.median(side) for side in zip(*values, strict=True))
    return (
        f"{large:.2f} {unit}, {statistics.median(more):+.2f} {unit} against the small one's "
        f"{small:.2f} {unit} "
        f"({min(more):+.2f} to {max(more):+.2f})"
    )

"""Memory as `stoker plan` predicts it beside what the real loop holds, tensor by tensor.

python benchmarks/plan_memory.py [--only TEXT]

Every cell of tests/core/plan/memory_cells.toml is predicted by the formula, without torch, and measured:
three steps of the real loop on a CPU, or on tensors without memory, counted by
`stoker.train.measuring`. Errors are relative to what was measured; a plus: predicted more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from cells import machine

from stoker.plan.comparing import Comparison
from stoker.plan.memory import COMPONENTS, MOMENTS
from stoker.testing.memory_cells import MemoryCell, cell_bench, read_cells

CELLS = Path(__file__).parents[1] / "tests" / "core" / "plan" / "memory_cells.toml"


def main() -> None:
    """Print the cells and the errors by class, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"Machine: {machine()}\n")
    print("| cell | predicted, MB | measured, MB | error | " + " | ".join(MOMENTS) + " |")
    print("|---" * (4 + len(MOMENTS)) + "|")
    found: list[tuple[MemoryCell, Comparison]] = []
    with tempfile.TemporaryDirectory() as folder, cell_bench(Path(folder)) as bench:
        for cell in read_cells(CELLS):
            if options.only in cell.name:
                found.append((cell, bench.compare(cell)))
                print(_row(*found[-1]), flush=True)
    _print_classes(found)
    _print_components(found)


def _row(cell: MemoryCell, comparison: Comparison) -> str:
    moments = " | ".join(f"{comparison.moment_error(moment):+.1%}" for moment in MOMENTS)
    predicted, measured = comparison.estimate.allocated, comparison.measured.allocated
    error = f"{comparison.total_error:+.2%}"
    return f"| {cell.name} | {predicted / 1e6:,.1f} | {measured / 1e6:,.1f} | {error} | {moments} |"


def _print_classes(found: Sequence[tuple[MemoryCell, Comparison]]) -> None:
    groups: dict[str, list[float]] = defaultdict(list)
    for cell, comparison in found:
        error = abs(comparison.total_error)
        for name in (cell.kind, "outside of our tables" if cell.outside else "inside", "all"):
            groups[name].append(error)
    print("\n| total error of | cells | median | p90 | largest |\n|---|---|---|---|---|")
    for name in sorted(groups, key=lambda each: (each == "all", each)):
        print(_summary(name, groups[name]))


def _print_components(found: Iterable[tuple[MemoryCell, Comparison]]) -> None:
    errors: dict[str, list[float]] = defaultdict(list)
    for _, comparison in found:
        for name, error in comparison.component_errors().items():
            errors[name].append(abs(error))
    print("\n| error at the peak of | cells | median | p90 | largest |\n|---|---|---|---|---|")
    for name in COMPONENTS:
        if errors[name]:
            print(_summary(name, errors[name]))


def _summary(name: str, errors: Sequence[float]) -> str:
    ordered = sorted(errors)
    p90 = ordered[min(len(ordered) - 1, round(0.9 * len(ordered)))]
    return (
        f"| {name} | {len(ordered)} | {statistics.median(ordered):.2%} | {p90:.2%} | {ordered[-1]:.2%} |"
    )


if __name__ == "__main__":
    main()

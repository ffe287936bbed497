"""What may not grow: steps with those before them, hooks with plugins, start-up with what is installed,
going on with the data and with the steps done.

    python benchmarks/growth.py [--only data drift hooks resume startup] [--tiny]

`--tiny` only shows that it works. Prints Markdown, asked beside measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from growth_data import data_rows, prepare_child
from growth_drift import drift_rows, run_child
from growth_hooks import hooks_rows
from growth_resume import resume_rows
from growth_startup import startup_rows

Rows = Iterable[tuple[str, str, str]]


def parts(tiny: bool) -> dict[str, Callable[[], Rows]]:
    """What can be measured, by name."""
    script = __file__
    if tiny:
        return {
            "data": lambda: data_rows(script, large=10_000, rounds=1),
            "drift": lambda: drift_rows(script, young=100, old=1_000, block=100, rounds=4),
            "hooks": lambda: hooks_rows(steps=500, rounds=3),
            "resume": lambda: resume_rows(young=100, old=1_000, rounds=1),
            "startup": lambda: startup_rows(rounds=2),
        }
    return {
        "data": lambda: data_rows(script, large=1_000_000, rounds=3),
        "drift": lambda: drift_rows(script, young=1_000, old=50_000, block=200, rounds=40),
        "hooks": lambda: hooks_rows(steps=5_000, rounds=9),
        "resume": lambda: resume_rows(young=1_000, old=50_000, rounds=3),
        "startup": lambda: startup_rows(rounds=11),
    }


def main() -> None:
    """Measure what was asked for and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(parts(tiny=True)))
    parser.add_argument("--tiny", action="store_true", help="small numbers: shows that it works")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, measure in parts(options.tiny).items():
        if not options.only or name in options.only:
            print(f"\n## {name}\n\n| what | measured | asked |\n|---|---|---|", flush=True)
            for row in measure():
                print("| " + " | ".join(row) + " |", flush=True)


def child(arguments: list[str]) -> bool:
    """Do what a parent of this script wants done in a process of its own."""
    match arguments:
        case ["--drift-child", folder, target, block]:
            run_child(Path(folder), int(target), int(block))
        case ["--prepare-child", recipe]:
            prepare_child(Path(recipe))
        case _:
            return False
    return True


if __name__ == "__main__":
    if not child(sys.argv[1:]):
        main()

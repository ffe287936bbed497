"""Time from the shell to the answer of commands that must feel instant: medians of many runs.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"
COMMANDS = (
    ["--help"],
    ["check", str(RECIPES / "smoke.toml")],
    ["check", str(RECIPES / "quickstart.toml")],
    ["plugins"],
)
TARGET_MILLISECONDS = 250


def milliseconds(arguments: list[str]) -> float:
    """One run of `stoker ARGUMENTS`."""
    command = [str(Path(sys.executable).with_name("stoker")), *arguments]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Alternate between the commands and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[int, list[float]] = {number: [] for number in range(len(COMMANDS))}
    for _ in range(rounds):
        for number, command in enumerate(COMMANDS):
            times[number].append(milliseconds(command))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for number, command in enumerate(COMMANDS):
        shown = " ".join(Path(part).name if "/" in part else part for part in command)
        low, middle, high = min(times[number]), statistics.median(times[number]), max(times[number])
        print(
            f"stoker {shown:24s} median {middle:5.0f} ms  (min {low:.0f}, max {high:.0f}, "
            f"target {TARGET_MILLISECONDS})"
        )


if __name__ == "__main__":
    main()

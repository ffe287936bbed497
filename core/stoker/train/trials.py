"""A rank that trains one run after the other: `python -m stoker.train.trials`, see `stoker.run.trials`.

Paths of run directories come line by line on standard input; each run's outcome goes into its files.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from stoker.recipe.lock import read_lock
from stoker.run.directory import RunDirectory
from stoker.train.distributed import disconnect, open_store, place_from_environment, publish
from stoker.train.garbage import exit_without_collecting
from stoker.train.signals import SignalFlags
from stoker.train.worker import run_rank


def main() -> None:
    """Train until standard input ends."""
    place = place_from_environment()
    publish(place)
    store = open_store(place)
    for line in sys.stdin:
        directory = RunDirectory(Path(line.strip()))
        recipe = read_lock(directory.lock_path)
        signals = SignalFlags()
        run_rank(recipe, directory, place, signals, attempt=1, store=store, is_last=False)
        # Models hang in cycles of hooks and modules.
        gc.collect()
    disconnect()


if __name__ == "__main__":
    main()
    exit_without_collecting()

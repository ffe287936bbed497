"""Tokenises a recipe's data as training would, so that they are counted: `... counting LOCK`.

A process of its own, which may import what `stoker plan` must not. The tokens stay in the cache, where
the run will find them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from stoker.errors import StokerError
from stoker.recipe.lock import read_lock
from stoker.run.directory import RunDirectory
from stoker.train.build import run_outside_training, tokenise_data
from stoker.train.garbage import exit_without_collecting
from stoker.train.signals import SignalFlags


def main() -> int:
    """Returns the exit code; what is wrong is said on standard error."""
    # Libraries announce themselves there.
    os.dup2(2, 1)
    try:
        with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
            run = run_outside_training(read_lock(Path(sys.argv[1])), RunDirectory(Path(folder)))
            tokenise_data(run, SignalFlags())
    except StokerError as error:
        print(f"stoker: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    exit_without_collecting(main())

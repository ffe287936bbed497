"""Counts a recipe's data in a process that may import tokenizers, for `stoker plan --count`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from stoker.errors import MissingRequirementError
from stoker.recipe.lock import write_lock
from stoker.recipe.model import Recipe


def count_tokens(recipe: Recipe) -> None:
    """Tokenise; the counts are in the cache afterwards.

    Raises `MissingRequirementError` where the libraries are not installed, and exits where the data or
    the model cannot be used, which has been said by then.
    """
    if find_spec("transformers") is None or find_spec("torch") is None:
        raise MissingRequirementError(
            "--count tokenises the data, which needs torch and transformers.",
            hint="pip install 'stoker[train]'",
        )
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        lock = Path(folder) / "recipe.lock.json"
        write_lock(recipe, lock)
        # -P: a file in the current folder must not be taken for a library of its name.
        job = [sys.executable, "-P", "-m", "stoker.train.counting", str(lock)]
        if code := subprocess.run(job, check=False).returncode:
            sys.exit(code)

"""A run that really gets no memory, because its process may not have more."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

from stoker.testing.fit import tiny_recipe
from stoker.testing.tiny import write_tiny_data

LIMIT = 1200 << 20
"""Bytes of data of a process; libraries take a good part of them."""

SETTINGS = ("train.batch_size=2048", "train.steps=1", "data.eval=[]")


def train(recipe: Path, rows: int) -> subprocess.CompletedProcess[str]:
    settings = (
        f"train.micro_batch_size={rows}",
        "train.batch_size=2048",
        "train.steps=1",
        "data.eval=[]",
    )
    changes = [part for setting in settings for part in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-m", "stoker", "run", str(recipe), "--fresh", *changes],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_error_names_a_change_and_with_it_the_run_fits(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path).path
    write_tiny_data(tmp_path / "train.jsonl", 64)
    failed = train(recipe, 2048)
    said = " ".join((failed.stdout + failed.stderr).split())
    assert failed.returncode == 3, said
    assert "ran out of memory at step 1" in said
    assert "Traceback" not in said
    found = re.search(r"What fits, by the plan: train\.micro_batch_size = (\d+) \(predicted", said)
    assert found, said
    changed = train(recipe, int(found[1]))
    assert changed.returncode == 0, changed.stdout + changed.stderr

"""A run that really gets no memory, because its process may not have more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.testing.fit import tiny_recipe

ROWS = 8192
"""At once they take 1.5 times what the plugin leaves."""


def train(recipe: Path, rows: int) -> subprocess.CompletedProcess[str]:
    settings = (
        "plugins.little_memory={}",
        f"train.micro_batch_size={rows}",
        f"train.batch_size={ROWS}",
        "train.steps=1",
        "data.eval=[]",
    )
    changes = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "stoker", "run", str(recipe), "--fresh", *changes]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_error_names_a_change_and_with_it_the_run_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "site" / "little_memory-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: little_memory\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[stoker.plugins]\nlittle_memory = little_memory_work:LittleMemory\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{metadata.parent}:{Path(__file__).parent}", prepend=":")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    # Allocators that keep or reserve what nobody uses would decide, and another way on each machine.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(1 << 20))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    recipe = tiny_recipe(tmp_path).path
    failed = train(recipe, ROWS)
    said = " ".join((failed.stdout + failed.stderr).split())
    assert failed.returncode == 3, said
    assert "ran out of memory at step 1" in said
    assert "Traceback" not in said
    found = re.search(r"What fits, by the plan: train\.micro_batch_size = (\d+) \(predicted", said)
    assert found, said
    changed = train(recipe, int(found[1]))
    assert changed.returncode == 0, changed.stdout + changed.stderr

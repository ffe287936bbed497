"""Measuring from the half without torch: through other processes, whatever becomes of these."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.errors import ExitCode, MissingRequirementError, StokerError, UsageError
from stoker.plan import measured, measuring_ranks
from stoker.plan.measured import Measured, Setting, measure_recipe
from stoker.plan.measuring_ranks import MeasuringRanks
from stoker.plan.situation import MicroBatch
from stoker.recipe.lock import write_lock
from stoker.testing.fit import tiny_recipe

SETTING = Setting(MicroBatch(rows=2, positions=32, supervised=20, longest_document=32), ranks=2)

Script = Callable[[str], None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """`script(text)`: ranks run this instead, once they are asked; it knows their `rank`."""

    def use(text: str) -> None:
        program = f"import json, os, sys, time\nrank = int(os.environ['RANK'])\ninput()\n{text}"
        monkeypatch.setattr(measuring_ranks, "COMMAND", (sys.executable, "-c", program))

    monkeypatch.setattr(measuring_ranks, "SECONDS_FOR_THE_OTHERS", 0.2)
    return use


def answer(num_bytes: str) -> str:
    moments = f"{{'forward': {{'weights': {num_bytes}}}}}"
    known = f"{{'moments': {moments}, 'alive': {{}}, 'rank': rank, 'seconds': 1.0}}"
    return f"print(json.dumps({{'measured': {known}}}), flush=True)\ninput()"


def ask(folder: Path) -> Measured:
    with MeasuringRanks(2, folder) as ranks:
        return ranks.measure(tiny_recipe(folder), SETTING, timeout_seconds=30)


def test_the_fullest_rank_is_the_one_that_counts(tmp_path: Path, script: Script) -> None:
    script(answer("10 + rank"))
    found = ask(tmp_path)
    assert (found.rank, found.allocated) == (1, 11)


def test_what_a_rank_refuses_is_raised_though_another_waits_for_it(
    tmp_path: Path, script: Script
) -> None:
    refusal = {"error": "no.", "hint": "Try another.", "exit_code": int(ExitCode.USAGE)}
    script(f"print(json.dumps({refusal}), flush=True) if rank else time.sleep(60)\ninput()")
    with pytest.raises(UsageError, match=r"no\. Try another\."):
        ask(tmp_path)


def test_a_rank_that_dies_is_named_with_its_last_line(tmp_path: Path, script: Script) -> None:
    script("sys.exit('out of memory') if rank else time.sleep(60)")
    with pytest.raises(StokerError, match=r"rank 1 .* ended with 1: out of memory"):
        ask(tmp_path)


def test_nobody_waits_for_ever(tmp_path: Path, script: Script) -> None:
    script("time.sleep(60)")
    recipe = tiny_recipe(tmp_path)
    with MeasuringRanks(1, tmp_path) as ranks, pytest.raises(StokerError, match=r"within 0\.1 s"):
        ranks.measure(recipe, SETTING, timeout_seconds=0.1)


def test_without_torch_the_environment_is_to_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(MissingRequirementError, match=r"stoker\[train\]"):
        measure_recipe(tiny_recipe(tmp_path), SETTING)


def test_the_job_measures_what_the_lock_says(tmp_path: Path) -> None:
    lock = tmp_path / "recipe.lock.json"
    write_lock(tiny_recipe(tmp_path, ["plugins.fsdp={}"]), lock)
    job = [sys.executable, "-P", "-m", "stoker.train.measuring", f"--lock={lock}", "--json"]
    size = ["--fake", "--ranks=4", "--micro-batch=1", "--positions=32", "--supervised=20"]
    done = subprocess.run([*job, *size], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = Measured.from_json(json.loads(done.stdout))
    assert found.moments["forward"]["logits"] == 4 * 20 * 259
    assert found.moments["loss"]["weights"] == pytest.approx(4 * 26880 / 4, rel=0.02)

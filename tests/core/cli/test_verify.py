"""`stoker verify` on real checkpoints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.run.directory import RunDirectory
from stoker.testing import tiny_fit

VERIFY = [sys.executable, "-m", "stoker", "verify"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    tiny_fit(folder, {}, ["train.steps=4", 'checkpoint.every="2 steps"'])
    return folder


def verify(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VERIFY, "tiny-1", *options], cwd=folder, capture_output=True, text=True)


def test_whole_checkpoints_are_said_to_be_so(folder: Path) -> None:
    done = verify(folder)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["step-00000004", "ok"],
        ["step-00000002", "ok"],
    ]


def test_a_damaged_one_is_named_with_its_file_and_exit_73(folder: Path) -> None:
    path = folder / "runs" / "tiny-1" / "checkpoints" / "step-00000004" / "rank-00000-00000.safetensors"
    whole = path.read_bytes()
    (path.parent.parent / ".tmp-step-00000009-1-1").mkdir()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        done, shown = verify(folder), verify(folder, "--json")
    finally:
        path.write_bytes(whole)
        (path.parent.parent / ".tmp-step-00000009-1-1").rmdir()
    assert (done.returncode, shown.returncode) == (73, 73)
    assert "step-00000004  DAMAGED" in done.stdout
    assert path.name in done.stdout
    assert "stoker resume tiny-1 would go on from step-00000002" in done.stdout
    told = json.loads(shown.stdout)
    assert (told["ok"], told["newest_valid"]) == (False, "step-00000002")
    assert told["unfinished"] == [".tmp-step-00000009-1-1"]


def test_torch_is_not_imported(folder: Path) -> None:
    program = (
        "import sys; from stoker.cli import invoke\n"
        "try: invoke(['verify', 'tiny-1'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True)


def test_of_a_run_that_is_done_the_newest_whole_one_can_be_exported(folder: Path) -> None:
    """Resuming it would be refused."""
    directory = RunDirectory(folder / "runs" / "tiny-1")
    path = directory.checkpoints_path / "step-00000004" / "manifest.json"
    whole, state = path.read_bytes(), directory.read_record().state
    path.write_bytes(whole[:-1])
    directory.update_record(state="done")
    try:
        said = verify(folder).stdout.splitlines()[-1]
    finally:
        path.write_bytes(whole)
        directory.update_record(state=state)
    assert said.endswith("stoker export tiny-1 --step 2 --to DIRECTORY")

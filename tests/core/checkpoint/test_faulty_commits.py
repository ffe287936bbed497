"""Known faults of other trainers' saves, put in one at a time: the checks beside this must see each.

Of resumes and of ranks that do not agree: `tests/core/train/test_known_faults.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import two_writers
from power_loss import Disk, after_kills, after_power_losses, judge

from stoker.checkpoint import commit, tensors
from stoker.checkpoint.background import Write
from stoker.checkpoint.commit import Commit
from stoker.checkpoint.finding import Checkpoint, newest_valid
from stoker.durable import observing

Fault = Callable[[pytest.MonkeyPatch], None]


def nothing(*_: Any) -> None:
    """Does nothing."""


def none(patch: pytest.MonkeyPatch) -> None:
    """The code as it is."""


# -- power losses and kills ---------------------------------------------------------------------


def files_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    """What the page cache holds is taken for written."""
    patch.setattr(tensors, "sync_file", nothing)


def directories_are_not_synced(patch: pytest.MonkeyPatch) -> None:
    """The rename may be lost."""
    patch.setattr(commit, "sync_directory", nothing)


def old_ones_are_deleted_first(patch: pytest.MonkeyPatch) -> None:
    """Right before the new one is sealed."""
    seal = Commit.seal

    def delete_and_seal(self: Commit, *arguments: Any) -> None:
        for path in self.final.parent.glob("step-*"):
            commit.remove(path)
        seal(self, *arguments)

    patch.setattr(Commit, "seal", delete_and_seal)


def old_ones_are_deleted_before_the_rename_is_synced(patch: pytest.MonkeyPatch) -> None:
    """The new one is whole and has its name, but a power loss may take that away."""
    rename = commit.rename

    def rename_and_delete(source: Path, target: Path) -> None:
        rename(source, target)
        if target.name.startswith("step-"):
            for path in target.parent.glob("step-*"):
                if path != target:
                    commit.remove(path)

    patch.setattr(commit, "rename", rename_and_delete)


def is_safe(folder: Path, states: Callable[[Disk], Any]) -> bool:
    """The check of test_every_operation.py, for two ranks."""
    recording, start = two_writers.recorded(folder)
    return judge(recording, states, folder, two_writers.FOLDER, start).faults == []


@pytest.mark.parametrize("states", [after_kills, after_power_losses])
def test_the_code_as_it_is_is_safe(tmp_path: Path, states: Callable[[Disk], Any]) -> None:
    assert is_safe(tmp_path, states)


@pytest.mark.parametrize(
    ("fault", "states"),
    [
        (files_are_not_synced, after_power_losses),
        (directories_are_not_synced, after_power_losses),
        (old_ones_are_deleted_first, after_kills),
        (old_ones_are_deleted_before_the_rename_is_synced, after_power_losses),
    ],
)
def test_a_commit_that_is_not_safe_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, states: Callable[[Disk], Any]
) -> None:
    fault(monkeypatch)
    assert not is_safe(tmp_path, states)


# -- ranks that are not waited for --------------------------------------------------------------


def parts_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """The pointer before the barrier: rank 0 commits when it is done itself."""
    patch.setattr(Write, "_wait_for_parts", lambda self, world_size: self.commit.num_parts() > 0)


def and_nobody_looks_whether_it_is_whole(patch: pytest.MonkeyPatch) -> None:
    """The same, without the second line of defence."""
    parts_are_not_waited_for(patch)
    patch.setattr(commit, "require_whole", nothing)


def slow_rank_is_saved(folder: Path) -> bool:
    """Whether the checkpoint holds rank 1's part too, which takes longer."""

    def slow(operation: str, path: Path) -> None:
        if operation == "write" and path.name == "rank-00001-00000.safetensors":
            time.sleep(0.1)

    folder.mkdir()
    with observing(slow):
        errors = two_writers.save(folder, 1)
    return errors == [] and two_writers.is_right(folder, 1)


@pytest.mark.parametrize("fault", [none, parts_are_not_waited_for, and_nobody_looks_whether_it_is_whole])
def test_a_commit_before_all_ranks_have_written_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    fault(monkeypatch)
    assert slow_rank_is_saved(tmp_path / "checkpoints") == (fault is none)


# -- damage -------------------------------------------------------------------------------------


def digests_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    """The newest directory that looks like a checkpoint is believed."""
    patch.setattr(Checkpoint, "verify", nothing)


def sizes_alone_are_compared(patch: pytest.MonkeyPatch) -> None:
    """As where a manifest lists files without digests."""
    from stoker.checkpoint import finding

    def sha256(path: Path, alive: Callable[[], None]) -> str:
        manifest = Checkpoint(path.parent).manifest
        return manifest.files[path.name].sha256

    patch.setattr(finding, "digest", sha256)


@pytest.mark.parametrize("fault", [none, digests_are_not_compared, sizes_alone_are_compared])
def test_a_flipped_bit_that_is_not_looked_for_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """safetensors itself does not notice one among a tensor's values."""
    tmp_path.joinpath("checkpoints").mkdir()
    parent = tmp_path / "checkpoints"
    assert two_writers.history(parent, keep=True) == []
    path = parent / "step-00000003" / "rank-00001-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    fault(monkeypatch)
    found, _ = newest_valid(parent)
    assert found is not None
    assert (found.step == 2) == (fault is none)

"""A kill, and a power cut, at every single operation on files of saving and retention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import saving_history
from saving_history import count_operations, problems_after_kills, problems_after_power_cuts

from stoker.checkpoint import commit, tensors
from stoker.checkpoint.finding import list_checkpoints
from stoker.durable import about_to


def test_there_are_operations_of_every_kind(tmp_path: Path) -> None:
    assert count_operations(tmp_path) > 70


def test_a_kill_at_any_operation_leaves_the_newest_durable_checkpoint(tmp_path: Path) -> None:
    assert problems_after_kills(tmp_path) == []


def test_a_power_cut_at_any_operation_does_so_too(tmp_path: Path) -> None:
    assert problems_after_power_cuts(tmp_path) == []


def nothing(*_: Any) -> None:
    """Does nothing, and does not say that it did."""


def without_syncs_of_files(patch: pytest.MonkeyPatch) -> None:
    """Safetensors are written and not synced."""
    patch.setattr(tensors, "sync_file", nothing)


def without_a_sync_after_the_rename(patch: pytest.MonkeyPatch) -> None:
    """No directory is synced."""
    patch.setattr(commit, "sync_directory", nothing)


def without_a_synced_manifest(patch: pytest.MonkeyPatch) -> None:
    """Small files are only written."""

    def write(path: Path, content: bytes) -> None:
        about_to("create", path)
        about_to("write", path)
        path.write_bytes(content)

    patch.setattr(commit, "write_durably", write)


def the_old_one_is_deleted_first(patch: pytest.MonkeyPatch) -> None:
    """Before the new one is durable."""
    save = saving_history.save

    def save_after_deleting(parent: Path, step: int) -> None:
        for checkpoint in list_checkpoints(parent):
            commit.remove(checkpoint.path)
        save(parent, step)

    patch.setattr(saving_history, "save", save_after_deleting)


def without_digests(patch: pytest.MonkeyPatch) -> None:
    """A renamed directory is believed, whatever its files hold; and they are not synced."""
    from stoker.checkpoint.finding import Checkpoint

    patch.setattr(Checkpoint, "verify", nothing)
    patch.setattr(tensors, "sync_file", nothing)


@pytest.mark.parametrize(
    "mutate",
    [
        without_syncs_of_files,
        without_a_sync_after_the_rename,
        without_a_synced_manifest,
        the_old_one_is_deleted_first,
        without_digests,
    ],
)
def test_faults_that_others_have_had_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Else these tests would say nothing."""
    mutate(monkeypatch)
    assert problems_after_power_cuts(tmp_path) != []


def test_a_commit_in_place_would_be_noticed_by_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "TEMPORARY_PREFIX", "step-9")
    assert problems_after_kills(tmp_path) != []

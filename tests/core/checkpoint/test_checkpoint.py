"""Checkpoints: written whole or not at all, read by any range, refused when damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from two_writers import manifest

from stoker.checkpoint.commit import Commit
from stoker.checkpoint.finding import Checkpoint, list_checkpoints, newest_valid
from stoker.checkpoint.reading import CheckpointSource
from stoker.checkpoint.tensors import write_pieces
from stoker.durable import observing
from stoker.errors import StorageError
from stoker.testing import tiny_fit
from stoker.train.engine import Piece

WHOLE = torch.arange(6 * 4, dtype=torch.float32).reshape(6, 4)


def pieces(*bounds: tuple[int, int]) -> list[Piece]:
    """Parts of one tensor of 24 elements."""
    flat = WHOLE.reshape(-1)
    return [Piece("w", "weight", (6, 4), start, stop, flat[start:stop]) for start, stop in bounds]


def save(parent: Path, step: int, *ranks: list[Piece]) -> Checkpoint:
    commit = Commit(parent, f"step-{step:08d}")
    commit.begin()
    for rank, own in enumerate(ranks):
        write_pieces(commit.directory, rank, own)
    commit.seal(manifest(step))
    return Checkpoint(commit.final)


def test_any_range_is_put_together_from_the_pieces_of_all_ranks(tmp_path: Path) -> None:
    """Pieces may be cut mid-row, as ZeRO cuts them."""
    checkpoint = save(tmp_path, 1, pieces((0, 7), (15, 20)), pieces((7, 15)), pieces((20, 24)))
    checkpoint.verify()
    source = CheckpointSource(checkpoint)
    flat = WHOLE.reshape(-1)
    for start in range(24):
        for stop in range(start, 25):
            assert torch.equal(source.read("w", "weight", start, stop), flat[start:stop])
    assert source.shape("w") == (6, 4)


def test_large_states_are_written_in_several_files_with_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stoker.checkpoint import tensors

    monkeypatch.setattr(tensors, "FILE_BYTES", 40)
    commit = Commit(tmp_path, "step-00000001")
    commit.begin()
    reports: list[tuple[int, int]] = []
    own = pieces((0, 7), (7, 9), (9, 20), (20, 24))
    write_pieces(commit.directory, 0, own, lambda done, total: reports.append((done, total)))
    commit.seal(manifest(1))
    # Also while a file is hashed.
    assert list(dict.fromkeys(reports)) == [(0, 0), (36, 0), (80, 0), (96, 0), (96, 96)]
    checkpoint = Checkpoint(commit.final)
    checkpoint.verify()
    assert len(checkpoint.manifest.files) == 3
    assert torch.equal(CheckpointSource(checkpoint).read("w", "weight"), WHOLE.reshape(-1))


def test_only_the_pieces_of_one_file_are_taken_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stoker.checkpoint import tensors

    monkeypatch.setattr(tensors, "FILE_BYTES", 40)
    taken: list[int] = []
    files: list[int] = []

    def streamed() -> Iterator[Piece]:
        for piece in pieces((0, 7), (7, 14), (14, 20), (20, 24)):
            taken.append(piece.start)
            files.append(len(list(tmp_path.glob("*.safetensors"))))
            yield piece

    write_pieces(tmp_path, 0, streamed())
    assert taken == [0, 7, 14, 20]
    assert files == [0, 0, 1, 2]


def test_a_gap_between_pieces_is_not_committed(tmp_path: Path) -> None:
    """So that what a rank failed to give, an adapter's part for example, is missed at once."""
    with pytest.raises(StorageError, match="element 10 is stored nowhere"):
        save(tmp_path, 1, pieces((0, 10), (12, 24)))
    assert not list(tmp_path.glob("step-*"))


def test_nothing_is_there_before_the_rename_and_everything_after(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def watch(operation: str, path: Path) -> None:
        if operation == "rename" and path.name == "step-00000003":
            seen.append([path.name for path in tmp_path.glob("step-*")])
            (temporary,) = tmp_path.iterdir()
            assert {path.name for path in temporary.iterdir()} == {
                "manifest.json",
                "manifest.sha256",
                "rank-00000-00000.safetensors",
            }

    with observing(watch):
        checkpoint = save(tmp_path, 3, pieces((0, 24)))
    assert seen == [[]]
    assert [found.path for found in list_checkpoints(tmp_path)] == [checkpoint.path]


def test_files_are_private(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1, pieces((0, 24)))
    assert checkpoint.path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in checkpoint.path.iterdir()} == {0o600}


def damage_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [damage_byte, cut_short, Path.unlink])
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path: Path, harm: Any) -> None:
    older, newer = save(tmp_path, 1, pieces((0, 24))), save(tmp_path, 2, pieces((0, 24)))
    harm(newer.path / "rank-00000-00000.safetensors")
    found, passed_over = newest_valid(tmp_path)
    assert found is not None
    assert found.path == older.path
    assert len(passed_over) == 1
    assert "step-00000002" in passed_over[0]


def test_a_directory_without_a_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 1, pieces((0, 24)))
    (tmp_path / "step-00000009").mkdir()
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [1]


def test_order_comes_from_manifests_and_not_from_times(tmp_path: Path) -> None:
    for step in (2, 30, 4):
        save(tmp_path, step, pieces((0, 24)))
    os.utime(tmp_path / "step-00000002")
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [2, 4, 30]


def test_what_an_earlier_attempt_left_behind_is_no_hindrance(tmp_path: Path) -> None:
    abandoned = Commit(tmp_path, "step-00000001")
    abandoned.begin()
    (abandoned.directory / "rank-00000-00000.safetensors").write_bytes(b"torn")
    save(tmp_path, 1, pieces((0, 24))).verify()


def test_a_run_keeps_the_newest_few_and_the_best(tmp_path: Path) -> None:
    """With this learning rate the loss on the evaluation rows is best early."""
    fit = tiny_fit(
        tmp_path,
        {},
        [
            "train.steps=12",
            "train.learning_rate=0.3",
            "train.schedule=constant",
            "train.warmup=0",
            "train.evaluate_every=1",
            'checkpoint.every="1 steps"',
            "checkpoint.keep=2",
        ],
    )
    evaluations = {event["step"]: event["eval_loss"] for event in fit.of_kind("evaluate")}
    best = min((step for step in evaluations if step > 0), key=lambda step: evaluations[step])
    kept = {checkpoint.step for checkpoint in list_checkpoints(fit.directory.checkpoints_path)}
    assert kept == {11, 12, best}
    assert not list(fit.directory.checkpoints_path.glob(".*"))

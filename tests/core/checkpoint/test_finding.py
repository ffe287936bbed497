"""Finding the checkpoint to go on from, among damaged, foreign, renamed and malicious ones."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.checkpoint.finding import examine, list_checkpoints, newest_valid, survey
from stoker.checkpoint.manifest import (
    MANIFEST_DIGEST_NAME,
    MANIFEST_NAME,
    PieceEntry,
    manifest_digest_text,
    read_manifest,
    require_whole,
)
from stoker.errors import StorageError
from stoker.testing import tiny_fit


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints of steps 2 and 4."""
    fit = tiny_fit(tmp_path_factory.mktemp("run"), {}, ["train.steps=4", 'checkpoint.every="2 steps"'])
    return Path(fit.directory.path)


@pytest.fixture
def checkpoints(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "checkpoints", tmp_path / "checkpoints"))


def run_id(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["id"])


def seal(checkpoint: Path, values: object) -> None:
    """Write a manifest with a matching digest, as someone who means it could."""
    content = json.dumps(values).encode()
    (checkpoint / MANIFEST_NAME).write_bytes(content)
    (checkpoint / MANIFEST_DIGEST_NAME).write_text(manifest_digest_text(content))


def test_the_newest_is_taken_and_nothing_passed_over(run: Path, checkpoints: Path) -> None:
    found, passed_over = newest_valid(checkpoints, run_id(run))
    assert found is not None
    assert (found.path.name, passed_over) == ("step-00000004", [])


FILES = ("rank-00000-00000.safetensors", MANIFEST_NAME, MANIFEST_DIGEST_NAME)


@pytest.mark.parametrize("name", FILES)
def test_every_bit_flip_is_found_and_named(checkpoints: Path, name: str) -> None:
    path = checkpoints / "step-00000004" / name
    whole = path.read_bytes()
    chance = random.Random(0)
    for _ in range(60):
        place, bit = chance.randrange(len(whole)), chance.randrange(8)
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        found, passed_over = newest_valid(checkpoints)
        assert found is not None
        assert found.step == 2, f"bit {bit} of byte {place}"
        assert "step-00000004" in passed_over[0]


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_and_deletion_is_found(checkpoints: Path, name: str) -> None:
    path = checkpoints / "step-00000004" / name
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        found, _ = newest_valid(checkpoints)
        assert found is not None
        assert found.step == 2
    path.unlink()
    assert [problem != "" for _, problem in examine(checkpoints)] == [True, False]


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_step_is_found(checkpoints: Path, name: str) -> None:
    shutil.copy(checkpoints / "step-00000002" / name, checkpoints / "step-00000004" / name)
    found, _ = newest_valid(checkpoints)
    assert found is not None
    assert found.step == 2


def test_a_renamed_checkpoint_is_none(checkpoints: Path) -> None:
    """Else an old one would pass for the newest."""
    (checkpoints / "step-00000002").rename(checkpoints / "step-00000009")
    found, passed_over = newest_valid(checkpoints)
    assert found is not None
    assert found.step == 4
    assert "holds step 2: it was renamed" in passed_over[0]


def test_a_checkpoint_of_another_run_is_none(checkpoints: Path) -> None:
    found, passed_over = newest_valid(checkpoints, "another")
    assert found is None
    assert all("belongs to another run" in reason for reason in passed_over)


def linked_away(checkpoint: Path) -> None:
    path = checkpoint / FILES[0]
    outside = checkpoint.parent.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def linked_directory(checkpoint: Path) -> None:
    other = checkpoint.parent.parent / "elsewhere"
    checkpoint.rename(other)
    checkpoint.symlink_to(other)


@pytest.mark.parametrize("harm", [linked_away, linked_directory])
def test_links_are_refused(checkpoints: Path, harm: Callable[[Path], None]) -> None:
    harm(checkpoints / "step-00000004")
    found, passed_over = newest_valid(checkpoints)
    assert found is not None
    assert found.step == 2
    assert len(passed_over) == 1


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "..", ""])
def test_a_manifest_may_name_files_of_its_own_directory_only(checkpoints: Path, name: str) -> None:
    checkpoint = checkpoints / "step-00000004"
    values = json.loads((checkpoint / MANIFEST_NAME).read_text())
    values["files"][name] = {"size": 1, "sha256": "0" * 64}
    seal(checkpoint, values)
    with pytest.raises(StorageError, match="no file of its directory"):
        read_manifest(checkpoint)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(values=JSON, key=st.sampled_from(["pieces", "files", "layout", "step", "v", "nothing"]))
def test_whatever_a_manifest_holds_the_error_is_one_to_act_on(
    tmp_path_factory: pytest.TempPathFactory, run: Path, values: object, key: str
) -> None:
    """Also one whose digest matches."""
    folder = tmp_path_factory.getbasetemp() / "malformed"
    folder.mkdir(exist_ok=True)
    whole = json.loads((run / "checkpoints" / "step-00000004" / MANIFEST_NAME).read_text())
    for content in (values, {**whole, key: values}):
        seal(folder, content)
        with suppress(StorageError):
            read_manifest(folder)


def test_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    content = b"[" * 100_000
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    (tmp_path / MANIFEST_DIGEST_NAME).write_text(manifest_digest_text(content))
    with pytest.raises(StorageError):
        read_manifest(tmp_path)


def test_files_divided_between_ranks_are_all_read(checkpoints: Path) -> None:
    """Each rank its share, so that one damaged file is seen by exactly one of them."""
    newest = list_checkpoints(checkpoints)[-1]
    path = newest.path / FILES[0]
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    complaints = 0
    for rank in range(3):
        try:
            newest.verify(rank, 3)
        except StorageError:
            complaints += 1
    assert complaints == 1


def test_what_is_no_directory_of_a_checkpoint_is_told_too(checkpoints: Path) -> None:
    (checkpoints / "step-00000007").mkdir()
    first = survey(checkpoints)[0]
    assert first.name == "step-00000007"
    assert first.problem


def piece(name: str, start: int, stop: int, shape: tuple[int, ...] = (4, 2)) -> PieceEntry:
    return PieceEntry(name, "weight", shape, start, stop, "float32", "file", f"{name}/{start}")


def test_pieces_must_hold_every_element_once() -> None:
    require_whole([piece("w", 3, 8), piece("w", 0, 3)], {"w": (4, 2)})
    for parts, reason in (
        ([piece("w", 0, 3), piece("w", 4, 8)], "element 3 is stored nowhere"),
        ([piece("w", 0, 5), piece("w", 4, 8)], "element 5 is stored twice"),
        ([piece("w", 0, 4)], "ends at element 4"),
        ([], "'w' is missing"),
        ([piece("w", 0, 8, (8,))], r"shape \(8,\)"),
    ):
        with pytest.raises(StorageError, match=reason):
            require_whole(parts, {"w": (4, 2)})

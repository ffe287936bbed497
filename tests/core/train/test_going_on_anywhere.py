"""A checkpoint of any engine on any number of ranks goes on under any other, on any other number."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stoker.checkpoint.finding import Checkpoint, list_checkpoints
from stoker.checkpoint.reading import CheckpointSource

FIT = f"{Path(__file__).parents[2] / 'fit_work.py'}:fit"
RESUME = f"{Path(__file__).with_name('going_on_work.py')}:resume"
ENGINES: dict[str, dict[str, Any]] = {
    "default": {},
    "fsdp-full": {"fsdp": {"strategy": "FULL_SHARD"}},
    "fsdp-grad-op": {"fsdp": {"strategy": "SHARD_GRAD_OP"}},
    "zero-1": {"zero": {"stage": 1}},
    "zero-2": {"zero": {"stage": 2}},
    "zero-3": {"zero": {"stage": 3}},
}
PLACES = [(engine, ranks) for ranks in (1, 2, 3) for engine in ENGINES]
Place = tuple[str, int]
RECIPE = ["train.batch_size=6", 'train.schedule="constant"', "train.warmup=0"]
SHORT, LONG = [*RECIPE, "train.steps=2"], [*RECIPE, "train.steps=4"]


def reader_of(number: int) -> Place:
    """Another engine on another number of ranks; over all writers, each place once."""
    return PLACES[(number + len(ENGINES) + 1) % len(PLACES)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, rank_pool: Any) -> list[float]:
    """Losses of the default engine on one rank."""
    folder = tmp_path_factory.mktemp("whole")
    losses: list[float] = rank_pool(1).call(FIT, folder=str(folder), overrides=LONG)[0]["losses"]
    return losses


class Writers:
    """Runs of two steps, each made once."""

    def __init__(self, folder: Path, rank_pool: Callable[[int], Any]) -> None:
        self.folder = folder
        self.rank_pool = rank_pool
        self.made: dict[Place, Path] = {}

    def copy(self, place: Place, folder: Path) -> Path:
        """The run directory of a writer, to go on with in `folder`."""
        if place not in self.made:
            engine, ranks = place
            own = self.folder / f"{engine}-{ranks}"
            wrote = self.rank_pool(ranks).call(
                FIT, folder=str(own), plugins=ENGINES[engine], overrides=SHORT
            )[0]
            assert "error" not in wrote, wrote
            self.made[place] = Path(wrote["directory"])
        return Path(shutil.copytree(self.made[place], folder / "runs" / "tiny-1"))


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory, rank_pool: Callable[[int], Any]) -> Writers:
    return Writers(tmp_path_factory.mktemp("writers"), rank_pool)


def assert_equal_states(one: Checkpoint, other: Checkpoint) -> None:
    ours, theirs = CheckpointSource(one), CheckpointSource(other)
    assert ours.names() == theirs.names() or set(ours.names()) == set(theirs.names())
    for name in ours.names():
        kinds = ours.optimizer_states(name)
        assert kinds == theirs.optimizer_states(name)
        assert set(kinds) == {"exp_avg", "exp_avg_sq"}
        for kind in ("weight", *kinds):
            assert torch.equal(ours.read(name, kind), theirs.read(name, kind)), (name, kind)


def go_on(
    writers: Writers, writer: Place, reader: Place, folder: Path, uninterrupted: list[float]
) -> None:
    directory = writers.copy(writer, folder)
    newest = list_checkpoints(directory / "checkpoints")[-1]
    dump = folder / "dump"
    dump.mkdir()
    engine, ranks = reader
    losses = writers.rank_pool(ranks).call(
        RESUME,
        folder=str(folder),
        directory=str(directory),
        dump=str(dump),
        plugins=ENGINES[engine],
        overrides=LONG,
    )[0]
    assert_equal_states(newest, list_checkpoints(dump)[-1])
    assert losses == pytest.approx(uninterrupted, rel=1e-6)


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_each_goes_on_somewhere_else(
    number: int, writers: Writers, tmp_path: Path, uninterrupted: list[float]
) -> None:
    go_on(writers, PLACES[number], reader_of(number), tmp_path, uninterrupted)


def test_every_place_is_a_reader_once_and_elsewhere() -> None:
    pairs = [(PLACES[number], reader_of(number)) for number in range(len(PLACES))]
    assert sorted(reader for _, reader in pairs) == sorted(PLACES)
    assert all(w[0] != r[0] and w[1] != r[1] for w, r in pairs)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("reader", PLACES)
@pytest.mark.parametrize("writer", PLACES)
def test_any_goes_on_anywhere(
    writer: Place, reader: Place, writers: Writers, tmp_path: Path, uninterrupted: list[float]
) -> None:
    go_on(writers, writer, reader, tmp_path, uninterrupted)
    if writer == reader:
        compare_bitwise(writers, writer, tmp_path)


def compare_bitwise(writers: Writers, place: Place, folder: Path) -> None:
    """The run in `folder` has gone on: are its losses those of one that was not interrupted?"""
    engine, ranks = place
    whole = writers.rank_pool(ranks).call(
        FIT, folder=str(folder / "whole"), plugins=ENGINES[engine], overrides=LONG
    )[0]
    again = writers.rank_pool(ranks).call(
        FIT, folder=str(folder), plugins=ENGINES[engine], overrides=[*RECIPE, "train.steps=5"],
        directory=str(folder / "runs" / "tiny-1"),
    )[0]  # fmt: skip
    assert again["losses"][:4] == whole["losses"]


def test_on_three_ranks_too_the_default_engine_goes_on_bit_for_bit(
    writers: Writers, tmp_path: Path, uninterrupted: list[float]
) -> None:
    """Three summands, unlike two, round by their order, which DDP's first backward changes."""
    go_on(writers, ("default", 3), ("default", 3), tmp_path, uninterrupted)
    compare_bitwise(writers, ("default", 3), tmp_path)

"""Known faults of other trainers, put in one at a time: the checks of this suite must see each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stoker.checkpoint.finding import list_checkpoints
from stoker.checkpoint.reading import CheckpointSource
from stoker.durable import observing
from stoker.run.directory import RunDirectory
from stoker.testing import tiny_fit, tiny_recipe, write_tiny_model

SETTINGS = ["train.warmup=0.5", "train.log_every=1"]
WHOLE = [*SETTINGS, "train.steps=8"]
SAVED = 6
"""Of five steps to an epoch: what is resumed is in the second."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A run with dropout that has a checkpoint of step 6 of 8, and the losses of all steps."""
    folder = tmp_path_factory.mktemp("stopped")
    write_tiny_model(folder / "model", attention_dropout=0.2)
    fit = tiny_fit(folder, {}, [*WHOLE, f'checkpoint.every="{SAVED} steps"'])
    shutil.rmtree(fit.directory.checkpoints_path / "step-00000008")
    return folder, fit.losses


def resumed(stopped: tuple[Path, list[float]], folder: Path) -> list[float]:
    """Losses of all steps, the last two of them trained after a resume."""
    source, _ = stopped
    shutil.copytree(source, folder / "copy")
    directory = RunDirectory(folder / "copy" / "runs" / "tiny-1")
    events = tiny_fit(folder / "copy", {}, WHOLE, directory=directory).of_kind("step")
    return list({event["step"]: event["loss"] for event in events}.values())


def test_without_a_fault_a_resumed_run_is_bitwise_the_same(
    stopped: tuple[Path, list[float]], tmp_path: Path
) -> None:
    assert resumed(stopped, tmp_path) == stopped[1]


def order_begins_anew(patch: pytest.MonkeyPatch) -> None:
    """The data of a resumed run is that of its first steps."""
    from stoker.train.state import State

    plan = State.plan
    patch.setattr(
        State, "plan", lambda self, step, rank: _renumbered(plan(self, step - SAVED, rank), step)
    )


def _renumbered(plan: Any, step: int) -> Any:
    import dataclasses

    return dataclasses.replace(plan, step=step)


def random_numbers_begin_anew(patch: pytest.MonkeyPatch) -> None:
    """Dropout of step 4 is that of step 1."""
    from stoker.train import loop

    seed = loop.seed_micro_batch
    patch.setattr(loop, "seed_micro_batch", lambda s, step, *rest: seed(s, step - SAVED, *rest))


def learning_rate_begins_anew(patch: pytest.MonkeyPatch) -> None:
    """The warm-up is run through again."""
    from stoker.train import schedule

    make = schedule.make_schedule

    def make_anew(*given: Any) -> Any:
        made = make(*given)
        return lambda step: made(step - SAVED)

    patch.setattr(schedule, "make_schedule", make_anew)


def moments_are_lost(patch: pytest.MonkeyPatch) -> None:
    """Weights are restored, and nothing of the optimizer."""
    patch.setattr(CheckpointSource, "optimizer_states", lambda self, name: {})


def count_of_updates_is_lost(patch: pytest.MonkeyPatch) -> None:
    """AdamW corrects its moments as in its first step."""
    from stoker.train import optimizer_states

    patch.setattr(optimizer_states, "set_step", lambda state, steps: state["step"].fill_(0))


def weights_are_not_restored(patch: pytest.MonkeyPatch) -> None:
    """Silently those that training began with."""
    patch.setattr(CheckpointSource, "has", lambda self, name, kind: kind != "weight")


def every_epoch_is_shuffled_as_the_first(patch: pytest.MonkeyPatch) -> None:
    """`set_epoch` is not called after a resume: the second epoch takes the rows of the first."""
    from stoker.data.order import KeyedOrder

    rows = KeyedOrder.rows
    patch.setattr(
        KeyedOrder, "rows", lambda self, step: rows(self, (step - 1) % int(self.steps_per_epoch) + 1)
    )


def moments_are_restored_in_bfloat16(patch: pytest.MonkeyPatch) -> None:
    """A cast on the way: hardly to be seen, and not the same run."""
    read = CheckpointSource.read

    def rounded(self: Any, name: str, kind: str, *bounds: Any) -> torch.Tensor:
        values = read(self, name, kind, *bounds)
        return values if kind == "weight" else values.bfloat16().to(values.dtype)

    patch.setattr(CheckpointSource, "read", rounded)


def steps_are_counted_one_too_few(patch: pytest.MonkeyPatch) -> None:
    """The step that was saved is trained once more with the numbers of the next."""
    from stoker.train import state

    batch_of = state.batch_of
    patch.setattr(state, "batch_of", lambda step, skips: batch_of(step, skips) - 1)


@pytest.mark.parametrize(
    "fault",
    [
        order_begins_anew,
        random_numbers_begin_anew,
        learning_rate_begins_anew,
        moments_are_lost,
        count_of_updates_is_lost,
        weights_are_not_restored,
        every_epoch_is_shuffled_as_the_first,
        moments_are_restored_in_bfloat16,
        steps_are_counted_one_too_few,
    ],
)
def test_a_faulty_resume_is_seen_in_the_losses(
    stopped: tuple[Path, list[float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
) -> None:
    fault(monkeypatch)
    assert resumed(stopped, tmp_path) != stopped[1]


def saved_while_training(folder: Path) -> torch.Tensor:
    """A weight in the checkpoint of step 2, whose writing is held up until two more steps are done."""
    import time

    def slow(operation: str, path: Path) -> None:
        if operation == "write" and "step-00000002" in str(path) and path.suffix == ".safetensors":
            time.sleep(0.3)

    settings = ["train.steps=4", 'checkpoint.every="2 steps"', "checkpoint.keep=9"]
    with observing(slow):
        fit = tiny_fit(folder, {}, settings)
    checkpoint = {c.step: c for c in list_checkpoints(fit.directory.checkpoints_path)}[2]
    return CheckpointSource(checkpoint).read("model.norm.weight", "weight")


def test_a_state_that_is_written_while_it_changes_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stoker.checkpoint.snapshot import Snapshot

    expected = saved_while_training(tmp_path / "copied")
    assert torch.equal(saved_while_training(tmp_path / "again"), expected)
    monkeypatch.setattr(Snapshot, "take", lambda self, pieces: list(pieces))
    assert not torch.equal(saved_while_training(tmp_path / "not-copied"), expected)


WORK = f"{Path(__file__).with_name('known_faults_work.py')}"


def test_an_adapter_of_which_only_rank_0_saves_its_part_is_not_committed(
    rank_pool: Callable[[int], Any], tmp_path: Path
) -> None:
    whole = rank_pool(2).call(f"{WORK}:adapter", folder=str(tmp_path / "whole"), drops=False)
    assert whole == ["", ""]
    problems = rank_pool(2).call(f"{WORK}:adapter", folder=str(tmp_path / "torn"), drops=True)
    assert "is not whole" in problems[0]


def test_a_stop_that_ranks_do_not_agree_on_is_seen(
    rank_pool: Callable[[int], Any], tmp_path: Path
) -> None:
    """Rank 1 alone hears of it: all stop at the same step, unless each goes by its own flag."""
    tiny_recipe(tmp_path)
    agreed = rank_pool(2).call(f"{WORK}:stop", folder=str(tmp_path), agrees=True)
    assert agreed[0] == agreed[1] != [10, 0]
    alone = rank_pool(2).call(f"{WORK}:stop", folder=str(tmp_path), agrees=False)
    assert alone[0] != alone[1]

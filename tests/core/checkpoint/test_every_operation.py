"""A kill and a power loss at every operation on files of a real run: its start, saves and resumes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import two_writers
from power_loss import (
    Disk,
    Recording,
    Tree,
    after_kills,
    after_power_losses,
    judge,
    within,
    write_tree,
)

from stoker.checkpoint.finding import newest_valid
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.testing import tiny_fit, write_tiny_model
from stoker.torture.runs import tensors_digest

SETTINGS = ["train.steps=3", 'checkpoint.every="1 steps"', "checkpoint.keep=1"]
"""Four commits and two deletions."""
CHECKPOINTS = "tiny-1/checkpoints"
OPERATIONS = {"create", "sync", "sync directory", "mkdir", "rename", "unlink", "rmdir"}


class Story:
    """A run from its very beginning to its end, with dropout, and all that it did to files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_tiny_model(folder / "model", attention_dropout=0.1)
        (folder / "runs").mkdir()
        with Recording(folder / "runs") as self.recording:
            tiny_fit(folder, {}, SETTINGS)
        self.losses, self.tensors = ending(folder / "runs")

    def states(self) -> Iterator[tuple[str, Disk]]:
        """Each operation and the disk after it."""
        disk = Disk()
        for op in self.recording.log:
            disk.apply(op)
            yield f"{op.kind} {op.target or op.path}", disk

    def resume(self, root: Path) -> None:
        """Go on with the run in `root`."""
        tiny_fit(self.folder, {}, SETTINGS, directory=RunDirectory(root / "tiny-1"))

    def assert_ends_alike(self, root: Path) -> None:
        """Losses that are known, and all tensors, bit by bit. A power loss may have taken events."""
        losses, tensors = ending(root)
        assert losses.items() <= self.losses.items()
        assert tensors == self.tensors


def ending(root: Path) -> tuple[dict[int, float], str]:
    run = RunDirectory(root / "tiny-1")
    losses = {e["step"]: e["loss"] for e in read_events(run.events_path) if e["kind"] == "step"}
    checkpoint, passed_over = newest_valid(run.checkpoints_path, run.read_record().id)
    assert checkpoint is not None
    assert (checkpoint.step, passed_over) == (3, [])
    return losses, tensors_digest(checkpoint.path)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("story"))


def test_the_run_has_a_hundred_operations_of_every_kind(story: Story) -> None:
    assert story.recording.num_calls > 100
    assert {op.kind for op in story.recording.log} >= OPERATIONS


def test_nothing_happens_to_checkpoints_that_observers_are_not_told_of(story: Story) -> None:
    recording, inside = story.recording, f"{CHECKPOINTS}/"
    done = [
        (op.kind, op.target or op.path)
        for op in recording.log
        if op.kind in OPERATIONS and f"{op.path}/".startswith(inside)
    ]
    told = [
        (operation, path)
        for operation, path in recording.announced
        if operation in OPERATIONS and f"{path}/".startswith(inside)
    ]
    assert sorted(done) == sorted(told)


@pytest.mark.parametrize("states", [after_kills, after_power_losses])
def test_whatever_is_left_of_a_run_holds_the_newest_durable_checkpoint(
    story: Story, tmp_path: Path, states: Callable[[Disk], Any]
) -> None:
    verdict = judge(story.recording, states, tmp_path, CHECKPOINTS)
    assert verdict.faults == []
    assert verdict.states > (200 if states is after_power_losses else 50)


def killed_while(story: Story, words: str) -> Tree:
    """What is left after the operation whose words contain these."""
    return next(disk.whole() for done, disk in story.states() if words in done)


@pytest.mark.parametrize(
    "killed_after",
    [
        "rename tiny-1/checkpoints/.tmp-step-00000002-1-3/rank-00000.part.json",
        "rename tiny-1/checkpoints/step-00000002",
        "rename tiny-1/checkpoints/.tmp-trash-step-00000001",
    ],
)
def test_whatever_is_left_of_a_resume_does_so_too(
    story: Story, tmp_path: Path, killed_after: str
) -> None:
    """It deletes what the kill left unfinished, goes on, saves, and deletes what is old."""
    left = killed_while(story, killed_after)
    start, root = tmp_path / "start", tmp_path / "root"
    write_tree(start, left)
    write_tree(root, left)
    with Recording(root) as recording:
        story.resume(root)
    story.assert_ends_alike(root)
    for states in (after_kills, after_power_losses):
        assert judge(recording, states, tmp_path, CHECKPOINTS, start).faults == []


def test_a_run_goes_on_from_what_a_power_loss_left_and_ends_bitwise_alike(
    story: Story, tmp_path: Path
) -> None:
    """A sample of the states: with nothing lost, and with all that was not synced."""
    ops = [op.kind for op in story.recording.log]
    sample = range(ops.index("claim") + 1, len(ops), 24)
    for number, (_, disk) in enumerate(story.states()):
        if number in sample:
            states = list(disk.remains())
            for which, state in enumerate((states[0], states[len(states) // 2], states[-1])):
                root = tmp_path / f"{number}-{which}"
                write_tree(root, {"tiny-1": within(state, "tiny-1")})
                story.resume(root)
                story.assert_ends_alike(root)


@pytest.mark.parametrize("states", [after_kills, after_power_losses])
def test_two_ranks_that_write_at_once_leave_the_newest_durable_checkpoint(
    tmp_path: Path, states: Callable[[Disk], Any]
) -> None:
    recording, start = two_writers.recorded(tmp_path)
    verdict = judge(recording, states, tmp_path, two_writers.FOLDER, start)
    assert verdict.faults == []
    assert verdict.states > 40


class Killing:
    """`kill_work.py` in a process of its own: the runs that it kills are forks of it."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("kill_work.py")), str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.whole = self.ask(None, None)

    def ask(self, first: int | None, then: int | None) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([first, then]) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killing]:
    killing = Killing(tmp_path_factory.mktemp("killing"))
    yield killing
    killing.close()


def assert_nothing_is_lost(killing: Killing, first: int, then: int | None) -> list[int]:
    """Returns the exit codes; -9 where the kill came before the end."""
    told = killing.ask(first, then)
    assert told["result"] == killing.whole["result"], (first, then)
    assert [f for f in told["finds"] if f["found"] < f["durable"]] == [], (first, then)
    codes: list[int] = told["codes"]
    assert set(codes) <= {0, -9}
    return codes


@pytest.mark.parametrize(("first", "then"), [(12, None), (61, 20), (88, 25), (105, 12)])
def test_a_process_that_is_killed_ahead_of_an_operation_and_again_while_it_resumes_loses_nothing(
    killing: Killing, first: int, then: int | None
) -> None:
    codes = assert_nothing_is_lost(killing, first, then)
    assert codes == ([-9, 0] if then is None else [-9, -9, 0])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_process_may_be_killed_ahead_of_any_operation(killing: Killing) -> None:
    """Once in the run, and once in its resume: each of its operations with one of the other's."""
    number = killing.whole["num_calls"]
    for first in range(number):
        assert_nothing_is_lost(killing, first, None)
        assert_nothing_is_lost(killing, number // 2, first)

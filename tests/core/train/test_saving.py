"""Saving while training goes on: what is waited for, what may fail, and how often it happens."""

from __future__ import annotations

import errno
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stoker import Plugin, PluginConfig, hookimpl
from stoker.checkpoint import commit
from stoker.checkpoint.snapshot import Snapshot
from stoker.durable import observing
from stoker.errors import ExitCode, StorageError
from stoker.run.directory import RunDirectory
from stoker.run.heartbeat import Heartbeat
from stoker.run.notices import Notice
from stoker.testing import Fit, tiny_fit
from stoker.train import room, saving
from stoker.train.boundary import INTERRUPT, Decision
from stoker.train.engine import Piece
from stoker.train.worker import SECONDS_TO_LEAVE, leave_saved


def phases(fit: Fit) -> list[tuple[str, int]]:
    return [(event["phase"], event["step"]) for event in fit.of_kind("checkpoint")]


def names(fit: Fit) -> list[str]:
    return sorted(path.name for path in fit.directory.checkpoints_path.iterdir())


@contextmanager
def failing(fails: Callable[[Path], bool], number: int = errno.ENOSPC) -> Iterator[None]:
    """Writes of tensors to paths for which `fails` says so do not succeed."""

    def observe(operation: str, path: Path) -> None:
        if operation == "write" and path.suffix == ".safetensors" and fails(path):
            raise OSError(number, "No space left on device")

    with observing(observe):
        yield


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    """The write of step 2 ends only when step 4 has been done."""
    done = threading.Event()

    class Watcher(Plugin[PluginConfig]):
        @hookimpl
        def on_step_end(self, state: Any) -> None:
            if state.step == 4:
                done.set()

    def slow(operation: str, path: Path) -> None:
        if operation == "write" and "step-00000002" in str(path) and path.suffix == ".safetensors":
            assert done.wait(timeout=30)

    with observing(slow):
        fit = tiny_fit(
            tmp_path,
            {"watcher": Watcher(PluginConfig())},
            ["train.steps=8", 'checkpoint.every="2 steps"', "checkpoint.keep=9"],
        )
    order = [
        ("step", e["step"]) if e["kind"] == "step" else (e.get("phase"), e["step"])
        for e in fit.events
        if e["kind"] in ("step", "checkpoint")
    ]
    assert order.index(("committed", 2)) > order.index(("step", 4))
    assert names(fit) == [f"step-{step:08d}" for step in (0, 2, 4, 6, 8)]


def test_the_copy_before_the_first_step_is_given_back_and_later_ones_share_their_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[weakref.ref[Any], ...]] = []
    alive: list[list[bool]] = []
    addresses: list[int] = []

    class Watched(Snapshot):
        def take(self, pieces: Iterable[Piece]) -> list[Piece]:
            found = super().take(pieces)
            taken.append((weakref.ref(self), *(weakref.ref(piece) for piece in found)))
            addresses.append(self._buffers[0].data_ptr())
            return found

    class Watcher(Plugin[PluginConfig]):
        @hookimpl
        def on_checkpoint_committed(self) -> None:
            alive.append([ref() is not None for ref in taken[-1]])

    monkeypatch.setattr(saving, "Snapshot", Watched)
    settings = ["train.steps=4", 'checkpoint.every="2 steps"']
    tiny_fit(tmp_path, {"watcher": Watcher(PluginConfig())}, settings)
    first, *later = alive
    assert len(first) > 10
    assert not any(first)
    # The buffers are there for the next one; nothing holds on to what was written from them.
    assert [each[0] for each in later] == [True, True]
    assert not any(any(each[1:]) for each in later)
    assert addresses[1] == addresses[2]


def test_a_checkpoint_holds_the_step_at_which_it_was_begun(
    tmp_path: Path,
) -> None:
    import torch

    from stoker.checkpoint.finding import list_checkpoints
    from stoker.checkpoint.reading import CheckpointSource

    settings = ["train.steps=6", 'checkpoint.every="2 steps"', "checkpoint.keep=9"]

    def slow(operation: str, path: Path) -> None:
        if operation == "write" and path.suffix == ".safetensors":
            time.sleep(0.1)

    with observing(slow):
        there = tiny_fit(tmp_path / "slow", {}, settings)
    waiting = tiny_fit(tmp_path / "waiting", {}, [*settings, "checkpoint.asynchronous=false"])
    pairs = zip(
        list_checkpoints(there.directory.checkpoints_path),
        list_checkpoints(waiting.directory.checkpoints_path),
        strict=True,
    )
    for one, other in pairs:
        assert one.step == other.step
        ours, theirs = CheckpointSource(one), CheckpointSource(other)
        for name in ours.names():
            for kind in ("weight", *ours.optimizer_states(name)):
                assert torch.equal(ours.read(name, kind), theirs.read(name, kind))


def test_a_save_that_takes_longer_than_the_interval_makes_training_wait_and_says_so(
    tmp_path: Path,
) -> None:
    def slow(operation: str, path: Path) -> None:
        if operation == "write" and path.suffix == ".safetensors":
            time.sleep(0.3)

    with observing(slow):
        fit = tiny_fit(tmp_path, {}, ["train.steps=3", 'checkpoint.every="1 steps"'])
    waited = [event for event in fit.of_kind("checkpoint") if event["phase"] == "waited"]
    assert waited
    assert waited[0]["seconds"] > 0.1


def test_a_full_disk_does_not_end_training_and_the_save_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "RETRY_SECONDS", 0.0)
    tries: list[Path] = []

    def fails(path: Path) -> bool:
        if "step-00000000" in str(path):
            return False
        tries.append(path)
        return len(tries) <= 2

    with failing(fails):
        fit = tiny_fit(tmp_path, {}, ["train.steps=20", 'checkpoint.every="5 steps"'])
    assert fit.outcome.exit_code == ExitCode.DONE
    failed = [event for event in fit.of_kind("checkpoint") if event["phase"] == "failed"]
    assert len(failed) == 2
    assert "No space left on device" in failed[0]["message"]
    alerts = [event["message"] for event in fit.of_kind("alert")]
    assert any("Training goes on; 2 more in a row end the run" in message for message in alerts)
    committed = [step for phase, step in phases(fit) if phase == "committed"]
    assert committed[1] < 10, "tried again long before the next one was due"
    assert not [name for name in names(fit) if name.startswith(".")]


def test_so_many_failures_in_a_row_end_the_run_with_73_and_leave_no_torso(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(saving, "RETRY_SECONDS_AT_END", 0.0)
    settings = ["train.steps=30", 'checkpoint.every="2 steps"', "checkpoint.max_failures=2"]
    with (
        failing(lambda path: "step-00000000" not in str(path)),
        pytest.raises(StorageError, match=r"could not be written: .*No space left") as caught,
    ):
        tiny_fit(tmp_path, {}, settings)
    assert caught.value.exit_code == ExitCode.STORAGE
    left = list((tmp_path / "runs" / "tiny-1" / "checkpoints").iterdir())
    assert [path.name for path in left] == ["step-00000000"]


def test_a_run_whose_first_save_fails_does_not_train(tmp_path: Path) -> None:
    """Before hours are paid for."""
    with failing(lambda path: True), pytest.raises(StorageError, match="step 0"):
        tiny_fit(tmp_path, {}, ["train.steps=200"])


def test_a_disk_without_room_for_two_checkpoints_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage._replace(free=500_000))
    with pytest.raises(StorageError, match=r"no room for two checkpoints of 0\.00 GB"):
        tiny_fit(tmp_path, {}, ["train.steps=2"])


def test_without_memory_for_a_copy_training_waits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "fits_in_memory", lambda num_bytes: False)
    fit = tiny_fit(tmp_path, {}, ["train.steps=4", 'checkpoint.every="2 steps"', "checkpoint.keep=5"])
    notes = [event["message"] for event in fit.of_kind("note")]
    assert sum("written while training waits" in note for note in notes) == 1
    assert [step for phase, step in phases(fit) if phase == "committed"] == [0, 2, 4]


def test_auto_saves_by_the_measured_commit_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the formula says so: here at every step, or after an hour."""
    asked: list[tuple[float, float]] = []
    answers = {"often": 0.0, "seldom": 3600.0}
    settings = ["train.steps=4", 'checkpoint.every="auto"', "checkpoint.keep=99"]
    settings += ["checkpoint.asynchronous=false", "checkpoint.hours_between_interruptions=10"]
    saved = {}
    for how, seconds in answers.items():

        def formula(commit_seconds: float, mean_seconds: float, seconds: float = seconds) -> float:
            asked.append((commit_seconds, mean_seconds))
            return seconds

        monkeypatch.setattr(saving, "young_daly_seconds", formula)
        fit = tiny_fit(tmp_path / how, {}, settings)
        saved[how] = [step for phase, step in phases(fit) if phase == "committed"]
        measured = fit.directory.read_record().facts["commit_seconds"]
        assert asked[-1] == (measured, pytest.approx(36000, rel=0.01))
    assert saved == {"often": [0, 1, 2, 3, 4], "seldom": [0, 4]}


class Warned(Plugin[PluginConfig]):
    """Says at a certain step that the machine will be gone."""

    seconds = 60.0
    leave = True
    at_step = 3

    @hookimpl
    def collect_notices(self, run: Any) -> Notice | None:
        if run.step < self.at_step:
            return None
        self.notice = getattr(self, "notice", None) or Notice(
            provider="test",
            reason="gone soon",
            leave=self.leave,
            deadline=time.monotonic() + self.seconds,
        )
        return self.notice


def test_a_notice_ends_in_a_durable_checkpoint_and_75(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"warned": Warned(PluginConfig())}, ["train.steps=50"])
    assert fit.outcome.exit_code == ExitCode.STOPPED
    assert fit.outcome.preempted
    assert fit.outcome.step < 6
    assert names(fit)[-1] == f"step-{fit.outcome.step:08d}"
    notice, end = fit.of_kind("preemption")
    assert (notice["phase"], notice["provider"], notice["message"]) == ("notice", "test", "gone soon")
    assert 0 < notice["seconds_left"] <= 60
    assert (end["phase"], end["step"]) == ("saved", fit.outcome.step)


def test_a_notice_too_short_for_a_save_leaves_at_once_with_76(tmp_path: Path) -> None:
    plugin = Warned(PluginConfig())
    plugin.seconds = 0.01
    fit = tiny_fit(tmp_path, {"warned": plugin}, ["train.steps=50", 'checkpoint.every="2 steps"'])
    assert fit.outcome.exit_code == ExitCode.LEFT
    assert fit.outcome.preempted
    assert fit.of_kind("preemption")[-1]["phase"] == "left"
    assert fit.outcome.checkpoint is not None


def test_a_hint_saves_once_and_training_goes_on(tmp_path: Path) -> None:
    plugin = Warned(PluginConfig())
    plugin.leave = False
    fit = tiny_fit(tmp_path, {"warned": plugin}, ["train.steps=10", "checkpoint.keep=9"])
    assert fit.outcome.exit_code == ExitCode.DONE
    assert len([step for phase, step in phases(fit) if phase == "committed"]) == 3


def test_clock_jumps_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours and years, forwards and backwards, at every look at the clock."""
    jumps = iter([0.0, 3600.0, -3600.0, 3.2e8, -3.2e8] * 10_000)
    settings = ["train.steps=6", 'checkpoint.every="2 steps"', "checkpoint.keep=9"]
    calm = tiny_fit(tmp_path / "calm", {}, settings)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    jumpy = tiny_fit(tmp_path / "jumpy", {}, settings)
    assert jumpy.losses == calm.losses
    assert names(jumpy) == names(calm)
    assert all(event["seconds"] >= 0 for event in jumpy.events if "seconds" in event)


def test_auto_finds_out_what_a_save_costs_where_an_earlier_attempt_could_not(tmp_path: Path) -> None:
    """It ended between its first save and the note of how long that took."""
    settings = ["train.steps=6", 'checkpoint.every="auto"', "checkpoint.keep=99"]
    directory = tiny_fit(tmp_path, {}, [*settings, "train.steps=1"]).directory
    directory.update_record(facts={})
    again = tiny_fit(tmp_path, {}, settings, directory=directory)
    saves = [phase for phase in phases(again) if phase[0] == "committed"]
    assert saves == [("committed", step) for step in (0, 1, 2, 6)]
    assert "commit_seconds" in directory.read_record().facts


def test_a_save_that_training_waits_for_shows_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least one for each file, and while one is hashed."""
    beats: list[str] = []
    monkeypatch.setattr(Heartbeat, "beat", lambda self, phase: beats.append(phase))
    monkeypatch.setattr(commit, "_CHUNK_BYTES", 4096)
    tiny_fit(tmp_path, {}, ["train.steps=1", "checkpoint.asynchronous=false"])
    assert beats.count("saving step 1") > 20
    beats.clear()
    run = RunDirectory(tmp_path / "runs" / "tiny-1")
    tiny_fit(tmp_path, {}, ["train.steps=2"], directory=run)
    assert beats.count("verifying step-00000001") > 20


class Stub:
    """A saver whose saves take long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waited: float | None = None
        self.saved = False

    def seconds_needed(self, state: Any) -> float:
        return self.seconds

    def finish_within(self, state: Any, seconds: float) -> None:
        self.waited = seconds

    def save_at_end(self, state: Any) -> None:
        self.saved = True


@pytest.mark.parametrize(("left", "saves"), [(None, True), (10.0, True), (7.0, False), (1.0, False)])
def test_some_of_the_time_that_is_left_is_kept_for_leaving(left: float | None, saves: bool) -> None:
    """Of a save that takes five seconds."""
    saver, asked = Stub(5.0), []
    boundary = SimpleNamespace(
        seconds_left=lambda: left, all_fine=lambda fine: bool(asked.append(fine) or fine)
    )
    code = leave_saved(SimpleNamespace(), Decision(stop=INTERRUPT), saver, boundary)
    assert asked == [saves], "every rank asks, whether it knows of a deadline or not"
    assert saver.saved == saves
    assert code == (ExitCode.STOPPED if saves else ExitCode.LEFT)
    if not saves:
        assert saver.waited == max(0.0, left - SECONDS_TO_LEAVE)


def test_a_save_that_is_under_way_counts_for_what_is_still_to_do(tmp_path: Path) -> None:
    needed: list[tuple[float, float]] = []

    class Asks(Plugin[PluginConfig]):
        @hookimpl
        def on_train_end(self, state: Any) -> None:
            saver.commit_seconds = 100.0
            needed.append((saver.seconds_needed(state), 0.0))
            state.step += 1
            needed.append((saver.seconds_needed(state), 100.0))
            saver._write, saver._step = SimpleNamespace(is_over=False), state.step - 1
            saver._started = time.monotonic() - 30.0
            needed.append((saver.seconds_needed(state), 170.0))
            saver._step = state.step
            needed.append((saver.seconds_needed(state), 70.0))
            state.step -= 1

    made = saving.Saver.__init__

    def remember(self: Any, *given: Any) -> None:
        nonlocal saver
        saver = self
        made(self, *given)

    saver: Any = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving.Saver, "__init__", remember)
        tiny_fit(tmp_path, {"asks": Asks(PluginConfig())}, ["train.steps=1"])
    assert [found for found, _ in needed] == pytest.approx([wanted for _, wanted in needed], abs=1.0)


def test_the_record_names_a_result_that_is_there_while_the_run_works(tmp_path: Path) -> None:
    """A run that is killed says no last word."""
    seen: list[bool] = []

    class Looks(Plugin[PluginConfig]):
        @hookimpl
        def on_step_end(self, state: Any) -> None:
            directory = state.run.directory
            result = directory.read_record().result
            seen.append(result is not None and (directory.path / result).is_dir())

    settings = ["train.steps=5", 'checkpoint.every="1 steps"', "checkpoint.keep=1"]
    settings += ["checkpoint.asynchronous=false"]
    fit = tiny_fit(tmp_path, {"looks": Looks(PluginConfig())}, settings)
    assert seen == [True] * 5
    assert fit.directory.read_record().result == "checkpoints/step-00000005"

"""Where the time of a step goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.testing import tiny_fit
from stoker.train import split
from stoker.train.split import HostSplit, part_seconds, step_seconds

_PARTS = ("data_seconds", "forward_seconds", "backward_seconds", "optimizer_seconds")


def test_parts_add_up_to_the_step_and_repeated_ones_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 3.0, 6.0, 7.0, 9.0, 9.5, 10.0, 50.0, 51.0, 53.0])
    monkeypatch.setattr(split.time, "perf_counter", lambda: next(moments))
    clock = HostSplit()
    for part in ("data", "forward", "backward", "forward", "backward", "optimizer"):
        clock.mark(part)
    clock.end_step()
    (times,) = clock.read()
    assert times == {"data": 1, "forward": 3, "backward": 5, "optimizer": 0.5, "rest": 0.5}
    assert step_seconds(times) == 10
    clock.restart()  # what lay between belongs to no step
    clock.mark("data")
    clock.end_step()
    assert clock.read() == [{"data": 1, "rest": 2}]
    assert clock.read() == []


def test_waiting_for_others_is_taken_out_of_the_backward_pass_then_of_the_optimizer() -> None:
    times = {"data": 1.0, "forward": 2.0, "backward": 3.0, "optimizer": 2.0}
    assert list(part_seconds(times, 2.0).values()) == [1, 2, 1, 2]
    assert list(part_seconds(times, 4.0).values()) == [1, 2, 0, 1]


def test_every_step_tells_its_parts_and_the_one_after_a_save_how_long_that_took(tmp_path: Path) -> None:
    fit = tiny_fit(
        tmp_path, overrides=["train.steps=4", "checkpoint.every=2 steps", "train.log_every=2"]
    )
    steps = fit.of_kind("step")
    for step in steps:
        assert all(step[part] >= 0 for part in _PARTS)
        assert min(step["forward_seconds"], step["backward_seconds"], step["optimizer_seconds"]) > 0
        assert sum(step[part] for part in _PARTS) <= step["step_seconds"] * (1 + 1e-9)
    assert [step["step"] for step in steps if "saving_seconds" in step] == [3]

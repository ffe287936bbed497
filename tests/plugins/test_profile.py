"""A trace of chosen steps."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import RecipeError
from stoker.testing import Fit, tiny_fit, tiny_recipe
from stoker_plugins.profile import Profile, ProfileConfig


def entries(path: Path) -> list[dict[str, Any]]:
    """What a trace says, in its order."""
    with gzip.open(path, "rt") as file:
        found: list[dict[str, Any]] = json.load(file)["traceEvents"]
    return found


def names(path: Path, category: str = "cpu_op") -> list[str]:
    """Names of the operators of a trace, or of its ranges (`user_annotation`)."""
    return [event["name"] for event in entries(path) if event.get("cat") == category]


def said(fit: Fit, kind: str) -> list[str]:
    """What the plugin told."""
    return [e["message"] for e in fit.of_kind(kind) if e["message"].startswith("profile:")]


def test_the_trace_holds_the_products_of_the_chosen_steps_and_no_others(tmp_path: Path) -> None:
    counts = {}
    for steps in ("2", "2-3"):
        fit = tiny_fit(tmp_path, {"profile": {"steps": steps}}, ["train.steps=4"])
        first, _, last = steps.partition("-")
        stem = f"rank-0-steps-{first}-{last or first}"
        folder = fit.directory.path / "profile"
        assert sorted(path.name for path in folder.iterdir()) == [f"{stem}.json.gz", f"{stem}.txt"]
        assert "aten::mm" in (folder / f"{stem}.txt").read_text()
        assert said(fit, "note") == [
            f"profile: steps {first} to {last or first} are in profile/{stem}.json.gz and .txt"
        ]
        counts[steps] = names(folder / f"{stem}.json.gz").count("aten::mm")
        ranges = names(folder / f"{stem}.json.gz", "user_annotation")
    assert [name for name in ranges if name.startswith(("step ", "between "))] == [
        "step 2: forward, backward",
        "step 2: optimizer",
        "between steps: data, log points, saves",
        "step 3: forward, backward",
        "step 3: optimizer",
    ]
    assert counts["2"] > 0
    assert counts["2-3"] == 2 * counts["2"]


def test_steps_that_the_run_does_not_come_to_are_a_problem() -> None:
    with pytest.raises(ValidationError, match='"10" for one step'):
        ProfileConfig(steps="10:12")
    with pytest.raises(ValidationError, match="ends before it begins"):
        ProfileConfig(steps="12-10")


def test_check_names_the_last_step(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="step 5 is to be recorded, the run ends after step 3"):
        tiny_recipe(tmp_path, ['plugins.profile={steps="2-5"}'])


def test_a_disk_that_takes_no_trace_is_an_alert_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stoker_plugins.profile.recording.gzip.open", full)
    fit = tiny_fit(tmp_path, {"profile": {"steps": "2"}})
    assert fit.outcome.exit_code == 0
    (alert,) = said(fit, "alert")
    assert "No space left" in alert
    assert list((fit.directory.path / "profile").iterdir()) == []


def test_a_run_that_ends_within_the_steps_keeps_what_there_is(tmp_path: Path) -> None:
    plugin = Profile(ProfileConfig(steps="3-9"))
    fit = tiny_fit(tmp_path, {"profile": plugin})
    assert (fit.directory.path / "profile" / "rank-0-steps-3-3.json.gz").is_file()
    again = tiny_fit(tmp_path, {"profile": Profile(ProfileConfig(steps="2-3"))}, directory=fit.directory)
    assert said(again, "note")[-1] == (
        "profile: nothing is recorded of steps 2-3: the run goes on after step 3"
    )


def test_memory_and_lines_of_python_are_recorded_where_they_are_asked_for(tmp_path: Path) -> None:
    options = {"steps": "2", "memory": True, "stacks": True, "ranks": "all"}
    fit = tiny_fit(tmp_path, {"profile": options})
    (path,) = (fit.directory.path / "profile").glob("*.json.gz")
    assert path.name == "rank-0-steps-2-2.json.gz"
    found = entries(path)
    assert any(event["name"] == "[memory]" for event in found)
    lines = [event["name"] for event in found if event.get("cat") == "python_function"]
    assert any("loop.py" in name for name in lines)
    assert "CPU Mem" in path.with_name("rank-0-steps-2-2.txt").read_text()


class Breaker(Plugin[PluginConfig]):
    """Fails in the middle of the third step."""

    Config = PluginConfig

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        if state.step == 3:
            raise RuntimeError("broken")


def test_a_run_that_fails_within_the_steps_leaves_no_trace_and_no_profiler(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        tiny_fit(
            tmp_path,
            {"profile": Profile(ProfileConfig(steps="2-4")), "breaker": Breaker(PluginConfig())},
            ["train.steps=4"],
        )
    assert not list(tmp_path.rglob("profile/*"))
    # Torch has one profiler for a process: one that still ran would refuse the next.
    fit = tiny_fit(tmp_path, {"profile": {"steps": "2"}})
    assert (fit.directory.path / "profile" / "rank-0-steps-2-2.json.gz").is_file()


def test_a_profiler_that_does_not_start_is_an_alert_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise RuntimeError("CUPTI is used by another process")

    monkeypatch.setattr("stoker_plugins.profile.recording.profile.start", refuse)
    fit = tiny_fit(tmp_path, {"profile": {"steps": "2"}})
    assert fit.outcome.exit_code == 0
    (alert,) = fit.of_kind("alert")
    assert "CUPTI is used by another process" in alert["message"]
    assert "profile" in alert["message"]

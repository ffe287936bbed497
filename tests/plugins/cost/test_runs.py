"""Real runs with a price: what they say, what they are stopped for, and that the sum is right."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker import Plugin, PluginConfig, hookimpl
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.ledger import read_ledger
from stoker.testing import tiny_fit, tiny_recipe

DOLLAR_A_SECOND = {"usd_per_gpu_hour": 3600.0}
STOKER = [sys.executable, "-m", "stoker"]
SETTINGS = [
    "train.steps=1000000",
    "train.schedule=constant",
    "plugins.cost.usd_per_gpu_hour=3600",
    "plugins.cost.interval_seconds=0.5",
]


def test_events_say_what_is_spent_and_what_the_whole_run_will_be(tmp_path: Path) -> None:
    table = {**DOLLAR_A_SECOND, "interval_seconds": 0.1, "budget_usd": 500.0}
    fit = tiny_fit(tmp_path, {"cost": table}, ["train.steps=60"])
    events = fit.of_kind("cost")
    assert len(events) >= 3
    assert [event["usd"] for event in events] == sorted(event["usd"] for event in events)
    last = events[-1]
    assert last["step"] == 60
    assert last["usd"] == pytest.approx(last["seconds"], abs=0.01)
    assert last["projected_usd"] == pytest.approx(last["usd"], rel=0.05)
    assert last["usd_per_million_tokens"] == pytest.approx(
        last["usd"] / fit.of_kind("step")[-1]["tokens"] * 1e6
    )
    assert (last["gpus"], last["usd_per_hour"], last["budget_usd"]) == (1, 3600.0, 500.0)
    assert (last["idle_usd"], last["redone_usd"]) == (None, 0.0)


def test_where_no_supervisor_does_rank_0_keeps_the_ledger(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"cost": DOLLAR_A_SECOND})
    (entries,) = read_ledger(fit.directory.ledger_path).attempts
    assert [each.kind for each in entries] == ["begin", "end"]
    assert entries[-1].usd >= fit.of_kind("cost")[-1]["usd"]


class Crash(Plugin[PluginConfig]):
    """Raises after a step."""

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        if state.step == 6:
            raise RuntimeError("crash")


def test_steps_that_are_done_again_are_counted_and_so_is_the_attempt_that_failed(
    tmp_path: Path,
) -> None:
    settings = ["train.steps=8", 'checkpoint.every="3 steps"', "checkpoint.asynchronous=false"]
    with pytest.raises(RuntimeError, match="crash"):
        tiny_fit(tmp_path, {"cost": DOLLAR_A_SECOND, "crash": Crash(PluginConfig())}, settings)
    directory = RunDirectory(tmp_path / "runs" / "tiny-1")
    before = read_ledger(directory.ledger_path)
    assert not before.is_open
    fit = tiny_fit(tmp_path, {"cost": DOLLAR_A_SECOND}, settings, directory=directory)
    again = [event for event in fit.of_kind("step") if event["step"] in (4, 5)][2:]
    last = fit.of_kind("cost")[-1]
    assert last["redone_usd"] == pytest.approx(sum(event["step_seconds"] for event in again))
    assert last["usd"] > before.usd > 0


def test_switched_on_it_changes_no_bit_of_training(tmp_path: Path) -> None:
    assert tiny_fit(tmp_path, {"cost": DOLLAR_A_SECOND}).losses == tiny_fit(tmp_path).losses


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*STOKER, *arguments], cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True
    )


def call(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    process = start(folder, *arguments)
    return process.wait(timeout=120), process.communicate()[0]


def run_arguments(name: str, *more: str) -> list[str]:
    settings = [f"run.name={name}", *SETTINGS, *more]
    return ["run", "tiny.toml", "--plain", *(f"--set={setting}" for setting in settings)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cost")
    tiny_recipe(folder)
    return folder


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def events_of(directory: RunDirectory, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(directory.events_path) if event["kind"] == kind]


def seconds_to_start(directory: RunDirectory) -> float:
    """From the beginning of the first attempt to the first step that is known."""
    return float(events_of(directory, "step")[0]["t"] - events_of(directory, "state")[0]["t"])


def seconds_of_attempt(directory: RunDirectory, attempt: int) -> float:
    """By the events of its beginning and its end."""
    times = [each["t"] for each in events_of(directory, "state") if each["attempt"] == attempt]
    return float(times[-1] - times[0])


def test_a_budget_ends_a_run_saved_with_4_and_later_attempts_count_on(folder: Path) -> None:
    """One life: killed, its last line torn, stopped by its budget, refused, allowed more, stopped."""
    directory = RunDirectory(folder / "runs" / "life")

    # Killed with everything that belongs to it.
    process = start(folder, *run_arguments("life"))
    wait_until(lambda: bool(events_of(directory, "cost")), "no event of cost")
    killed_at = time.time()
    for pid in (directory.read_record().pid, process.pid, *pids_of_ranks(directory)):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    # What they had in memory takes a moment to be given back.
    wait_until(lambda: directory.effective_state() == "lost", "the run is still held")
    with directory.ledger_path.open("ab") as file:
        file.write(b'{"kind": "running", "attempt": 1, "t": 179')
    begun = directory.read_record().started
    assert begun is not None

    # Goes on, though it may only do so for some seconds: warns, saves, stops.
    budget = round(killed_at - begun + 2 * seconds_to_start(directory) + 4)
    limited = f"plugins.cost.budget_usd={budget}"
    code, output = call(folder, *run_arguments("life", limited))
    assert code == 4, output
    record = directory.read_record()
    assert (record.state, record.exit_code) == ("stopped", 4)
    used_up = f"the budget of ${budget}.00 is used up"
    assert re.search(rf"alert: [89]\d% of the budget of \${budget}\.00 is used: ", output)
    assert f"alert: {used_up}" in output
    assert re.search(rf"life: stopped at step \d+ of 1000000 after .*: {re.escape(used_up)}", output)
    assert record.reason is not None
    assert record.reason.startswith(used_up)
    assert (directory.path / str(record.result)).name == f"step-{record.step:08d}"

    first, second = read_ledger(directory.ledger_path).attempts
    assert [first[-1].kind, second[-1].kind] == ["settled", "end"]
    assert first[-1].usd == pytest.approx(killed_at - begun, abs=1)
    assert second[-1].usd == pytest.approx(seconds_of_attempt(directory, 2), abs=1)
    # Training ends within a step of the budget; the save and the end of the ranks come on top.
    stop = next(e for e in events_of(directory, "alert") if "is used up" in e["message"])
    spent = float(re.search(r"is used up: \$([\d.]+),", stop["message"]).group(1))  # type: ignore[union-attr]
    # A machine that stands still in a step makes it longer than the last one.
    assert spent == pytest.approx(budget, abs=0.5)

    # The same command is refused before anything is started; so is resume.
    before = directory.ledger_path.read_bytes()
    for command in (run_arguments("life", limited), ["resume", "life"]):
        code, output = call(folder, *command)
        assert code == 4
        assert "run 'life' has used its budget" in output
        assert "stoker resume life --set plugins.cost.budget_usd=NUMBER" in output
    assert directory.ledger_path.read_bytes() == before
    assert directory.read_record().attempt == 2

    # With a higher budget the same command goes on.
    process = start(folder, *run_arguments("life", "plugins.cost.budget_usd=1000"))
    wait_until(lambda: events_of(directory, "step")[-1]["attempt"] == 3, "no step of the third attempt")
    assert call(folder, "stop", "life")[0] == 0
    code, output = process.wait(timeout=60), process.communicate()[0]
    assert code == 75, output
    assert f"plugins.cost.budget_usd: {budget} -> 1000 (safe)" in output
    ledger = read_ledger(directory.ledger_path)
    assert len(ledger.attempts) == 3
    assert ledger.usd == pytest.approx(
        first[-1].usd + second[-1].usd + seconds_of_attempt(directory, 3), abs=1
    )
    shown = json.loads(call(folder, "show", "life", "--json")[1])["cost"]
    assert shown["usd"] == ledger.usd
    assert shown["latest"]["redone_usd"] > 0
    page = call(folder, "show", "life")[1]
    assert re.search(r"cost +\$[\d,.]+ for [\d:]+( s)? in 3 attempts, 1 x \$3,600\.00 an hour", page)


def pids_of_ranks(directory: RunDirectory) -> list[int]:
    """Processes that the supervisor started."""
    import psutil

    children = psutil.Process(directory.read_record().pid).children(recursive=True)
    return [child.pid for child in children]


def test_two_ranks_stop_together_and_cost_twice_as_much(folder: Path) -> None:
    """The budget is one of hours here: what a start on two ranks takes, and some seconds."""
    directory = RunDirectory(folder / "runs" / "two")
    arguments = run_arguments("two", "plugins.cost.budget_hours=0.0035", "train.log_every=3")
    code, output = call(folder, *arguments, "--nproc", "2")
    assert code == 4, output
    record = directory.read_record()
    assert "the budget of 0.0035 hours is used up" in (record.reason or "")
    assert {path.name for path in directory.attempt_path(1).glob("*.outcome.json")} == {
        "rank-0.outcome.json",
        "rank-1.outcome.json",
    }
    (entries,) = read_ledger(directory.ledger_path).attempts
    assert entries[-1].gpus == 2
    assert entries[-1].usd == pytest.approx(2 * seconds_of_attempt(directory, 1), abs=2)
    assert entries[-1].usd == pytest.approx(entries[-1].seconds * 2)
    assert record.ended is not None
    assert record.started is not None
    assert entries[-1].seconds == pytest.approx(record.ended - record.started, abs=1)


def test_a_rank_of_a_foreign_launcher_keeps_the_ledger_and_is_refused_as_well(folder: Path) -> None:
    """With a budget that does not even last for its start."""
    environment = {**os.environ, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    command = [*STOKER, *run_arguments("foreign", "plugins.cost.budget_usd=0.01")]
    ends = [
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [end.returncode for end in ends] == [4, 4]
    assert "has used its budget" in ends[1].stderr
    directory = RunDirectory(folder / "runs" / "foreign")
    (entries,) = read_ledger(directory.ledger_path).attempts
    assert [entries[0].kind, entries[-1].kind] == ["begin", "end"]
    record = directory.read_record()
    assert (record.state, record.exit_code, record.step) == ("stopped", 4, 0)
    assert "stopped during start-up, before the first step" in (record.reason or "")

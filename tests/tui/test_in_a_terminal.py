"""As a person would: `stoker` in a real tmux, from a template to a finished run, all by keys."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from stoker.run.directory import RunDirectory
from stoker.run.events import last_step

HERE = Path(__file__).parent
SLOW_RANK = HERE / "slow_rank"
"""A distribution that brings the plugin `slow_rank`."""


@pytest.fixture
def pane(terminals, tmp_path):
    """A shell in tmux, in a folder without runs, with the plugin of somebody else installed."""
    if not terminals.has_tmux():
        pytest.fail("tmux is not installed: the cockpit is tested in it")
    paths = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(SLOW_RANK))))
    terminal = terminals.Tmux(
        tmp_path,
        cwd=tmp_path,
        PYTHONPATH=paths,
        OMP_NUM_THREADS="1",
        XDG_STATE_HOME=str(tmp_path / "state"),
    )
    yield Person(terminal, tmp_path)
    for run in (tmp_path / "runs").glob("*"):
        end(RunDirectory(run))
    terminal.end()


def end(run: RunDirectory) -> None:
    """Kill what the test has left at work."""
    record = run.read_record()
    if record.exit_code is None:
        with_group = record.pid
        try:
            os.killpg(with_group, signal.SIGKILL)
        except ProcessLookupError:
            return


class Person:
    """Somebody at the keys, who looks before going on."""

    def __init__(self, terminal, folder: Path) -> None:
        self.terminal = terminal
        self.folder = folder
        self.press, self.wait_for, self.screen = terminal.press, terminal.wait_for, terminal.screen

    def open(self, *arguments: str) -> None:
        self.wait_for("$")
        self.terminal.run(*arguments)

    def choose_recipe(self, name: str) -> None:
        """In the list of Compose, with the arrow keys."""
        shown = self.wait_for(f"  {name} ").splitlines()
        rows = [line[2:].split()[0] for line in shown if re.match(r"[▸ ] \w", line)]
        self.press(*["Down"] * rows.index(name), "Enter")
        self.wait_for(f"recipe {name}", "no problems")

    def go_to(self, key: str) -> None:
        """The field of a key, by `/`."""
        self.press("/")
        self.wait_for("Find a key")
        self.terminal.type(key)
        self.terminal.wait_until(lambda shown: len(rows_with(key, shown)) == 2, f"{key} is found")
        self.press("Enter")
        self.terminal.wait_until(lambda shown: "Find a key" not in shown, "the field")

    def put(self, key: str, value: str) -> None:
        self.go_to(key)
        field = key.rpartition(".")[2]
        self.press("Enter")
        self.wait_for("esc Give up")
        self.press("End", "C-u")
        self.terminal.wait_until(lambda shown: re.search(rf"▸ +{field} {{10}}", shown), "an empty input")
        self.terminal.type(value)
        self.press("Enter")
        self.terminal.wait_until(
            lambda shown: re.search(rf"{field} +{value}\b", shown), f"{key} = {value}"
        )

    def switch(self, plugin: str, mark: str) -> None:
        """A plugin on (`x`) or off (` `), in the list of sections."""
        self.go_to(f"plugins.{plugin}.enabled")
        self.press("Left", "Space")
        self.wait_for(f"[{mark}] {plugin}")

    def launch(self, ranks: int) -> RunDirectory:
        """`L`, the number of ranks, the plan, yes; then Watch is in front."""
        before = {run.name for run in (self.folder / "runs").glob("*")}
        self.press("L")
        self.wait_for("Ranks on this node")
        self.press("End", "C-u")
        self.terminal.wait_until(lambda shown: re.search(r"nproc.*\n.*│ {40}", shown), "an empty input")
        self.terminal.type(str(ranks))
        self.terminal.wait_until(lambda shown: re.search(rf"nproc.*\n.*│ {ranks} ", shown), f"{ranks}")
        self.press("Enter")
        asked = self.wait_for("Start ", f"$ stoker run smoke.toml --detach --nproc {ranks}")
        assert f"{ranks} x cpu" in asked
        self.press("y")
        self.wait_for("[4 Watch]")
        [new] = {run.name for run in (self.folder / "runs").glob("*")} - before
        return RunDirectory(self.folder / "runs" / new)


def rows_with(text: str, shown: str) -> list[str]:
    return [line for line in shown.splitlines() if text in line]


def test_from_a_template_to_a_finished_run(pane, terminals, tmp_path):
    pane.open()
    pane.wait_for("[1 Runs]")

    pane.press("2")
    pane.choose_recipe("smoke")
    pane.switch("slow_rank", "x")
    pane.switch("telemetry", "x")
    pane.put("plugins.telemetry.interval_seconds", "0.4")
    pane.put("train.log_every", "1")
    pane.put("train.steps", "20")
    pane.wait_for("FITS", "20 steps")
    pane.press("w")
    pane.wait_for("Save the recipe as")
    pane.press("Enter")
    pane.wait_for("smoke.toml  saved")
    assert "[plugins.slow_rank]" in (tmp_path / "smoke.toml").read_text()
    pane.press("3")
    pane.wait_for("[3 Plan]", "this recipe", "combinations fit")
    pane.press("2")

    slow = pane.launch(2)
    pane.wait_for("● run", "/20", seconds=40)
    pane.wait_for("rank 1 is SLOW", seconds=30)
    pane.wait_for("✓ done", "step 20/20", seconds=40)
    assert slow.read_record().exit_code == 0

    pane.press("2")
    pane.switch("slow_rank", " ")
    pane.put("train.steps", "80")
    second = pane.launch(2)
    pane.wait_for("● run", "/80", seconds=40)
    the_run_goes_on_without_the_cockpit(pane, terminals, second)

    pane.press("S")
    pane.wait_for("Stop ", "$ stoker stop")
    pane.press("y")
    pane.wait_for("■ stop", seconds=30)
    assert second.read_record().state == "stopped"
    pane.press("R")
    pane.wait_for("Resume ", "$ stoker resume")
    pane.press("y")
    pane.wait_for("attempt 2", "● run", seconds=40)
    pane.wait_for("✓ done", "step 80/80", seconds=60)
    assert second.read_record().exit_code == 0
    assert second.read_record().nproc == 2

    pane.press("1")
    pane.wait_for("[1 Runs]", slow.name, second.name, "✓ done")
    pane.press("q")
    pane.wait_for("$")


def the_run_goes_on_without_the_cockpit(pane, terminals, run: RunDirectory) -> None:
    """Killed, or with its terminal closed, while another cockpit looks at the same run."""
    other = terminals.Pty("tui", run.name, cwd=pane.folder, size=(100, 30), ignore_hangup=True)
    try:
        other.wait_for("[4 Watch]")
        os.kill(pane.terminal.program("stoker"), signal.SIGKILL)
        other.close()
        other.wait_for_end(3)
    finally:
        other.end()
    step = last_step(run.events_path)
    terminals.wait_for(lambda: last_step(run.events_path) > step, 20, "the run goes on")
    # The terminal is as the killed cockpit left it: Enter is no end of a line there.
    pane.terminal.type("stty sane; tput rmcup; clear")
    pane.press("C-j")
    pane.terminal.wait_until(lambda shown: "[4 Watch]" not in shown, "an empty screen")
    pane.open("tui", run.name)
    pane.wait_for("[4 Watch]", "● run", run.name)

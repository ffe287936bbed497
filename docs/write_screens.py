"""Draws docs/screens/*.svg from real runs of recipes/smoke.toml: `python docs/write_screens.py`.

Two ranks train for about a minute, one of them slowed by the plugin that the tests bring. The name of
this machine is replaced, and paths are as seen from a folder of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from textual.pilot import Pilot

from stoker.run.directory import RunDirectory
from stoker.run.events import last_step
from stoker.run.host import host_name
from stoker_tui.app import Cockpit
from stoker_tui.models.session import Session

ROOT = Path(__file__).absolute().parents[1]
SCREENS = ROOT / "docs" / "screens"
SLOW_RANK = ROOT / "tests" / "tui" / "slow_rank"
HOST = "node-1"
SIZE = (120, 36)
PLUGINS = """
[plugins.telemetry]
interval_seconds = 0.5

[plugins.cost]
usd_per_gpu_hour = 0.04
budget_usd = 0.05
"""
SLOW = "\n[plugins.slow_rank]\nseconds = 0.3\n"
_WAIT_SECONDS = 60


def main() -> None:
    """Train, look, draw."""
    SCREENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home, view = Path(folder) / "trained", Path(folder) / "view"
        for each in (home, view):
            each.mkdir()
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CONFIG_HOME"] = str(Path(folder) / "xdg")
        recipe = (ROOT / "recipes" / "smoke.toml").read_text() + PLUGINS
        (home / "smoke.toml").write_text(recipe + SLOW)
        (view / "smoke.toml").write_text(recipe)
        first, second = train(home, "smoke", 20), train(home, "smoke-slow", 80)
        wait_for_step(second, 50)
        os.chdir(view)
        for run in (first, second):
            publish(run, view / "runs" / run.name)
        draw("watch", "watch", text="SLOW", run="smoke-slow")
        draw("runs", "runs", text="smoke-slow")
        subprocess.run(command("stop", "smoke-slow"), cwd=home, check=True, stdout=subprocess.DEVNULL)
        publish(second, view / "runs" / second.name)
        draw("logs", "logs", text="attempt", run="smoke-slow")
        draw("compose", "compose", text="FITS", recipe=Path("smoke.toml"))
        draw("plan", "compose", "3", before="FITS", text="combinations fit", recipe=Path("smoke.toml"))
        draw("plugins", "plugins", text="early_stopping")
        draw("help", "watch", "question_mark", text="This screen", run="smoke-slow")


def command(*arguments: str) -> list[str]:
    """`stoker ARGUMENTS` by this interpreter."""
    return [sys.executable, "-P", "-m", "stoker", *arguments]


def train(home: Path, name: str, steps: int) -> RunDirectory:
    """Start a real run on two ranks; the one before it has ended."""
    paths = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(SLOW_RANK))))
    settings = [f"run.name={name}", f"train.steps={steps}", "train.log_every=1"]
    options = [word for each in settings for word in ("--set", each)]
    subprocess.run(
        command("run", "smoke.toml", "--nproc", "2", "--detach", *options),
        cwd=home,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    run = RunDirectory(home / "runs" / name)
    wait_for_step(run, min(steps, 20))
    return run


def wait_for_step(run: RunDirectory, step: int) -> None:
    """Wait until a step was done. Raises `TimeoutError` where that takes too long."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while last_step(run.events_path) < step:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{run.name} did not come to step {step}")
        time.sleep(0.1)


def publish(run: RunDirectory, to: Path) -> None:
    """A copy of the run as if it were on another machine."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(run.path, to, ignore=shutil.ignore_patterns("store", "*.lock"))
    copy = RunDirectory(to)
    copy.update_record(host=HOST)
    for path in copy.telemetry_path.glob("*.jsonl"):
        path.rename(path.with_name(f"{HOST}.jsonl"))
    # The copy is as fresh as the run: signs of life of another machine are times of files.
    for path in (copy.events_path, copy.lease_path):
        path.touch()


def draw(
    name: str,
    start: str,
    *keys: str,
    text: str,
    before: str = "",
    run: str = "",
    recipe: Path | None = None,
) -> None:
    """The screen as a picture, once it shows the text. Raises `RuntimeError` if it never does.

    Keys are pressed when it shows the text `before`.
    """
    session = Session(recipe=recipe, run=RunDirectory(Path("runs", run)) if run else None)
    svg = asyncio.run(_drawn(Cockpit(session, start), keys, before, text))
    for private in (host_name(), str(Path.home()), tempfile.gettempdir(), str(ROOT)):
        if len(private) > 3 and private in svg:
            raise RuntimeError(f"{name}.svg would name {private}")
    (SCREENS / f"{name}.svg").write_text(svg, "utf-8")


async def _drawn(cockpit: Cockpit, keys: Sequence[str], before: str, text: str) -> str:
    async with cockpit.run_test(size=SIZE) as pilot:
        await _wait_for(pilot, before)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.5)
        await _wait_for(pilot, text)
        await pilot.pause(1)
        return cockpit.export_screenshot(title="stoker")


async def _wait_for(pilot: Pilot[int], text: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while text not in _text(pilot):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{text!r} is not shown:\n{_text(pilot)}")
        await pilot.pause(0.2)


def _text(pilot: Pilot[int]) -> str:
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


if __name__ == "__main__":
    main()

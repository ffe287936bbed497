"""Real runs of a tiny model from the shell: how long `stoker resume` takes to its first step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stoker.run.directory import RunDirectory
from stoker.run.events import EventTail, last_step
from stoker.testing import write_tiny_model

STOKER = (sys.executable, "-m", "stoker")
HIDDEN_SIZE = 16
_SECONDS_BETWEEN_LOOKS = 0.01
_MOST_SECONDS = 600.0
_RECIPE = """
[run]
name = "{name}"
directory = "{folder}/runs"
[model]
path = "{folder}/model"
initial_weights = "random"
[data]
train = [{{ path = "{data}", format = "{format}" }}]
sequence_length = 64
[train]
steps = {steps}
batch_size = {batch_size}
micro_batch_size = {batch_size}
learning_rate = 1e-3
precision = "fp32"
log_every = 1
[plugins.cost]
usd_per_gpu_hour = 1.0
"""


def write_recipe(folder: Path, name: str, data: Path, data_format: str, steps: int, batch: int) -> Path:
    """A recipe for a model so small that its steps take a millisecond, beside the model's files."""
    if not (folder / "model").exists():
        shape = {"hidden_size": HIDDEN_SIZE, "intermediate_size": 32, "num_hidden_layers": 1}
        write_tiny_model(folder / "model", **shape)
    values: dict[str, object] = {
        "name": name,
        "data": data,
        "format": data_format,
        "steps": steps,
        "batch_size": batch,
    }
    path = folder / f"{name}.toml"
    values["folder"] = folder
    path.write_text(_RECIPE.format(**values))
    return path


@dataclass(frozen=True)
class Start:
    """From a command to the end of the first step that it trained."""

    seconds: float
    cpu_seconds: float
    """Processor time of all processes of the run by then: what a busy machine disturbs less."""
    peak_megabytes: float
    """Resident memory of the rank, as high as it has been by then; mapped files count."""


def train_to(folder: Path, recipe: Path, step: int) -> RunDirectory:
    """A run that has been stopped, saved, at this step or soon after it."""
    subprocess.run([*STOKER, "run", str(recipe), "--detach"], check=True, stdout=subprocess.DEVNULL)
    directory = RunDirectory(folder / "runs" / recipe.stem)
    _wait_for(lambda: last_step(directory.events_path) >= step)
    stop(directory)
    return directory


def resume(directory: RunDirectory) -> Start:
    """Go on with a run, and stop it again once a step is done."""
    tail = EventTail(directory.events_path, directory.events_path.stat().st_size)
    done: list[float] = []

    def has_stepped() -> bool:
        done.extend(event["t"] for event in tail.read() if event["kind"] == "step")
        return bool(done)

    started = time.time()
    with _resumed(directory):
        _wait_for(has_stepped)
        cpu, peak = look_at_processes(directory)
    return Start(done[0] - started, cpu, peak)


@contextmanager
def _resumed(directory: RunDirectory) -> Iterator[None]:
    command = [*STOKER, "resume", str(directory.path), "--plain"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        stop(directory)
        process.wait()


def stop(directory: RunDirectory) -> None:
    """Save and stop."""
    command = [*STOKER, "stop", str(directory.path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def look_at_processes(directory: RunDirectory) -> tuple[float, float]:
    """Processor seconds of all processes of a run, and its rank's `VmHWM` in megabytes."""
    seconds, peak, own = 0.0, 0.0, str(directory.path.resolve()).encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            times = (path / "stat").read_text().rpartition(")")[2].split()[11:13]
            status = (path / "status").read_text()
        except OSError:  # ended meanwhile
            continue
        if own in words:
            seconds += sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            if b"stoker.train.worker" in words:
                fields = dict(line.split(":", 1) for line in status.splitlines())
                peak = int(fields["VmHWM"].split()[0]) / 1024
    return seconds, peak


def _wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_SECONDS_BETWEEN_LOOKS)

"""`stoker torture`: does what stoker promises about crashes hold on this machine?"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from stoker.errors import MissingRequirementError, UsageError
from stoker.run.ranks import STOP_SIGNALS
from stoker.torture.disk import DISK_VARIABLE, namespace_command

ENGINES = ("default", "fsdp", "zero-2", "lora")
FEW = {"signals": 8, "disk-full": 4, "corrupt": 500, "nan": 4, "hang": 2}
"""How many faults of each mode, unless told."""


@click.command(
    help="Kill and resume runs on this machine, and compare them bitwise.\n\nTrains a tiny model on "
    "CPUs, kills it at random instants, resumes it by itself, and compares losses, weights and "
    "optimizer states with a run that nothing happened to. Exits with 1 if anything differs."
)
@click.option("--kills", type=click.IntRange(1), help="SIGKILLs for each engine. Default: 25.")
@click.option("--engine", type=click.Choice([*ENGINES, "all"]), multiple=True, help="Repeatable.")
@click.option("--ranks", type=click.IntRange(1, 8), default=2, show_default=True)
@click.option("--signals", is_flag=True, help="Signals that ask for a stop or a checkpoint.")
@click.option("--disk-full", is_flag=True, help="A file system that fills up while a run trains.")
@click.option("--corrupt", is_flag=True, help="Damaged, swapped and missing files of checkpoints.")
@click.option("--nan", is_flag=True, help="Losses and gradients that are not finite.")
@click.option("--hang", is_flag=True, help="Ranks that stop.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the instants and targets.")
@click.option("--folder", type=click.Path(path_type=Path), help="New folder for the runs; kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    kills: int | None,
    engine: tuple[str, ...],
    ranks: int,
    seed: int,
    folder: Path | None,
    as_json: bool,
    **modes: bool,
) -> None:
    """Start the process that may import torch, in a folder that is removed afterwards."""
    asked = [key.replace("_", "-") for key, is_asked in modes.items() if is_asked]
    wanted = {mode: FEW[mode] for mode in asked}
    if kills is not None or not wanted:
        wanted["kills"] = 25 if kills is None else kills
    engines = list(ENGINES) if "all" in engine else list(dict.fromkeys(engine)) or ["default"]
    if "zero-2" in engines and importlib.util.find_spec("deepspeed") is None:
        raise MissingRequirementError(
            "engine zero-2 needs DeepSpeed.", hint="Install it: pip install 'stoker[deepspeed]'"
        )
    options = [f"--ranks={ranks}", f"--seed={seed}", *(f"--engine={name}" for name in engines)]
    options += [f"--{name}={number}" for name, number in wanted.items()]
    options += ["--json"] if as_json else []
    sys.exit(run_in(folder, options, small_disk="disk-full" in wanted))


def run_in(folder: Path | None, options: Sequence[str], *, small_disk: bool) -> int:
    """Run the tortures in `folder`, which is kept, or in a temporary one. Returns the exit code."""
    if folder is not None:
        if folder.exists():
            raise UsageError(f"{folder} exists already.", hint="Name a new folder with --folder.")
        folder.mkdir(parents=True)
        return _run(folder.resolve(), options, small_disk)
    with tempfile.TemporaryDirectory(prefix="stoker-torture-") as name:
        return _run(Path(name), options, small_disk)


def _run(folder: Path, options: Sequence[str], small_disk: bool) -> int:
    job = [sys.executable, "-P", "-m", "stoker.torture.main", f"--folder={folder}", *options]
    environment = dict(os.environ)
    if small_disk:
        place = folder / "disk"
        place.mkdir()
        prefix = namespace_command(place)
        if prefix is not None:
            job, environment[DISK_VARIABLE] = [*prefix, *job], str(place)
    with _forwarding() as processes:
        processes.append(subprocess.Popen(job, env=environment))
        return processes[0].wait()


@contextmanager
def _forwarding() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Pass signals that ask for a stop on to processes, and wait for their ends all the same."""
    processes: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in STOP_SIGNALS}
    try:
        yield processes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

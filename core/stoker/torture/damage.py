"""Damaged files: every one must be found before a tensor of it reaches a model."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from stoker.checkpoint.finding import newest_valid
from stoker.errors import ExitCode
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.torture.report import Report
from stoker.torture.runs import INTERVAL, STEPS, Attempt, Result, Setup, result_of

Harm = Callable[[Path, Path, random.Random], str]
"""(the newest checkpoint, the one before it, chance) -> what was done, in words."""
RESUMES = 3


def flip(newest: Path, older: Path, chance: random.Random) -> str:
    """One bit of one file."""
    path = _any_file(newest, chance)
    content = bytearray(path.read_bytes())
    place, bit = chance.randrange(len(content)), chance.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place} of {path.name} flipped"


def truncate(newest: Path, older: Path, chance: random.Random) -> str:
    """The end of one file."""
    path = _any_file(newest, chance)
    length = chance.randrange(path.stat().st_size)
    path.write_bytes(path.read_bytes()[:length])
    return f"{path.name} cut to {length} bytes"


def delete(newest: Path, older: Path, chance: random.Random) -> str:
    """One file."""
    path = _any_file(newest, chance)
    path.unlink()
    return f"{path.name} deleted"


def stale(newest: Path, older: Path, chance: random.Random) -> str:
    """One file of the step before."""
    path = _any_file(newest, chance)
    shutil.copy(older / path.name, path)
    return f"{path.name} of {older.name} put into {newest.name}"


def rename(newest: Path, older: Path, chance: random.Random) -> str:
    """An old checkpoint under the name of a newer step."""
    shutil.rmtree(newest)
    shutil.copytree(older, newest)
    return f"{older.name} copied to {newest.name}"


def swap(newest: Path, older: Path, chance: random.Random) -> str:
    """Two files of one checkpoint, each with the other's content."""
    one, other = chance.sample(sorted(newest.iterdir()), 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return f"{one.name} and {other.name} swapped"


HARMS: tuple[Harm, ...] = (flip, flip, flip, flip, truncate, delete, stale, rename, swap)


def corrupt(setup: Setup, number: int, chance: random.Random) -> Report:
    """Damage the newest of two checkpoints so many times; resume from the other one a few times."""
    report, started = Report("corrupt", setup.engine, setup.ranks), time.monotonic()
    directory = setup.make("corrupt")
    if (code := Attempt(directory, setup.ranks).wait()) != ExitCode.DONE:
        raise RuntimeError(f"the run to be damaged ended with {code}: see {directory.path}/logs.")
    calm, run_id = result_of(directory), directory.read_record().id
    whole = setup.folder / "whole"
    shutil.copytree(directory.checkpoints_path, whole)
    for count in range(number):
        what = _damage(directory, whole, chance)
        report.faults += 1
        found, passed_over = newest_valid(directory.checkpoints_path, run_id)
        if found is None or found.step != STEPS - INTERVAL or not passed_over:
            report.bad_picks += 1
            report.blame(f"not found: {what}")
        elif count < RESUMES:
            _resume(directory, setup, report, calm)
    report.seconds = time.monotonic() - started
    return report


def _damage(directory: RunDirectory, whole: Path, chance: random.Random) -> str:
    shutil.rmtree(directory.checkpoints_path)
    shutil.copytree(whole, directory.checkpoints_path)
    *_, older, newest = sorted(directory.checkpoints_path.glob("step-*"))
    return chance.choice(HARMS)(newest, older, chance)


def _resume(directory: RunDirectory, setup: Setup, report: Report, calm: Result) -> None:
    """The run falls back to the older checkpoint, says so, and ends as if nothing had been."""
    if Attempt(directory, setup.ranks).wait() != ExitCode.DONE:
        report.by_hand += 1
        report.blame("a run with a damaged checkpoint did not go on from the one before")
        return
    report.resumes += 1
    report.runs += 1
    resume = [event for event in read_events(directory.events_path) if event["kind"] == "resume"][-1]
    if resume["step"] != STEPS - INTERVAL or not resume["passed_over"]:
        report.bad_picks += 1
    if result_of(directory) != calm:
        report.unequal += 1


def _any_file(checkpoint: Path, chance: random.Random) -> Path:
    return chance.choice([path for path in sorted(checkpoint.iterdir()) if path.stat().st_size])

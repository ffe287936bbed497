"""A disk that is full: a real small file system where this user may mount one, else a limit on files."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from stoker.checkpoint.finding import newest_valid, unfinished
from stoker.errors import ExitCode
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.torture.report import Report
from stoker.torture.runs import SECONDS_TO_END, Attempt, Result, Setup, result_of

DISK_VARIABLE = "STOKER_TORTURE_DISK"
"""Set in the process that has a small file system of its own, to where that is mounted."""
DISK_BYTES = 8 * 2**20
_SMALL_FILE_BYTES = 20_000
_MOST_LEFT_BYTES = 200_000
MAX_FAILURES = 100


def namespace_command(folder: Path) -> list[str] | None:
    """What goes before a command to give it a small file system at `folder`; None where none may."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(folder)]
    try:
        tried = subprocess.run([*unshare, *mount], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if tried.returncode:
        return None
    # The words are arguments of the shell and never part of its program.
    return [*unshare, "sh", "-c", 'm=$1; shift; mount -t tmpfs -o "$m" tmpfs "$1" && shift && exec "$@"',
            "sh", f"size={DISK_BYTES},mode=0700", str(folder)]  # fmt: skip


class Disk:
    """Fills a file system, or makes files of ranks fail, and undoes it."""

    def __init__(self, place: Path | None) -> None:
        self.place = place

    def fill(self, attempt: Attempt, left: int) -> None:
        """Leave so many bytes, which are less than a checkpoint. Takes what has become free since."""
        if self.place is None:
            for pid in attempt.ranks():
                _limit_files(pid, _SMALL_FILE_BYTES)
            return
        ballast = self.place / "ballast"
        with suppress(OSError), ballast.open("ab") as file:
            wanted = max(1, shutil.disk_usage(self.place).free - left)
            os.posix_fallocate(file.fileno(), file.tell(), wanted)

    def free(self, attempt: Attempt) -> None:
        """There is room again."""
        if self.place is not None:
            (self.place / "ballast").unlink(missing_ok=True)
            return
        for pid in attempt.ranks():
            _limit_files(pid, resource.RLIM_INFINITY)


def _limit_files(pid: int, size: int) -> None:
    with suppress(OSError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def disk_full(setup: Setup, number: int, chance: random.Random) -> Report:
    """So many disks that fill up while a run trains, and one that stays full."""
    place = os.environ.get(DISK_VARIABLE)
    disk = Disk(Path(place) if place else None)
    if disk.place is not None:
        setup = replace(setup, folder=disk.place / "work")
    report, started = Report("disk-full", setup.engine, setup.ranks), time.monotonic()
    report.remark = "a small file system of its own" if place else "limits on the size of ranks' files"
    tolerant = replace(setup, settings=(f"checkpoint.max_failures={MAX_FAILURES}",))
    calm, seconds = _calm(tolerant)
    failed = 0
    for count in range(number):
        directory = tolerant.make(f"full-{count}")
        failed += _fill_once(directory, tolerant, disk, seconds, chance, report)
        _finish(directory, tolerant, calm, report)
        shutil.rmtree(directory.path)
    endless = ("checkpoint.max_failures=2", "train.steps=1000000")
    _stay_full(replace(setup, settings=endless), disk, report)
    report.remark += f"; {failed} saves failed and were tried again"
    report.seconds = time.monotonic() - started
    return report


def _fill_once(
    directory: RunDirectory,
    setup: Setup,
    disk: Disk,
    seconds: float,
    chance: random.Random,
    report: Report,
) -> int:
    """One full disk, for a while. Returns how many saves failed."""
    attempt = Attempt(directory, setup.ranks)
    if not attempt.is_over_by(chance.uniform(0.2, 0.9) * seconds):
        disk.fill(attempt, chance.randrange(0, _MOST_LEFT_BYTES))
        report.faults += 1
        time.sleep(chance.uniform(0.1, 0.5))
        disk.free(attempt)
    code = attempt.wait()
    if code not in (ExitCode.DONE, ExitCode.STORAGE):
        report.by_hand += 1
        error = directory.read_record().error or {}
        report.blame(f"{directory.name} ended with {code}: {error.get('message')}")
    failed = [e for e in read_events(directory.events_path) if e.get("phase") == "failed"]
    return len(failed)


def _finish(directory: RunDirectory, setup: Setup, calm: Result, report: Report) -> None:
    """What is there is valid, and the run ends as if the disk had never been full."""
    _, passed_over = newest_valid(directory.checkpoints_path, directory.read_record().id)
    if passed_over:
        report.bad_picks += 1
        report.blame(f"a full disk has left a checkpoint that is none: {passed_over[0]}")
    if directory.read_record().state != "done":
        report.resumes += 1
        if Attempt(directory, setup.ranks).wait() != ExitCode.DONE:
            report.by_hand += 1
            report.blame(f"{directory.name} does not go on when there is room again")
            return
    report.runs += 1
    report.unequal += result_of(directory) != calm
    if unfinished(directory.checkpoints_path):
        report.blame(f"{directory.name} has unfinished directories at its end")


def _stay_full(setup: Setup, disk: Disk, report: Report) -> None:
    """So many failures in a row end a run with 73 that has no other end; what was durable stays so."""
    directory = setup.make("stays-full")
    attempt = Attempt(directory, setup.ranks)
    while not any(e.get("phase") == "committed" for e in _events(directory)):
        if attempt.is_over_by(attempt.seconds() + 0.02):
            break
    report.faults += 1
    # To the last byte: neither an outcome nor the record can be written then. Again and again: a save
    # that fails gives room back, and one that is under way may have taken what was to be filled.
    until = time.monotonic() + SECONDS_TO_END
    while time.monotonic() < until and not attempt.is_over_by(attempt.seconds() + 0.02):
        disk.fill(attempt, 0)
    code = attempt.wait()
    disk.free(attempt)
    newest, _ = newest_valid(directory.checkpoints_path, directory.read_record().id)
    if code != ExitCode.STORAGE or newest is None:
        report.blame(f"a disk that stays full: ended with {code}, newest {newest and newest.step}")


def _events(directory: RunDirectory) -> list[dict[str, object]]:
    return list(read_events(directory.events_path)) if directory.events_path.exists() else []


def _calm(setup: Setup) -> tuple[Result, float]:
    directory = setup.make("calm-disk")
    attempt = Attempt(directory, setup.ranks)
    if (code := attempt.wait()) != ExitCode.DONE:
        raise RuntimeError(f"the uninterrupted run ended with {code}: see {directory.path}/logs.")
    seconds = time.monotonic() - attempt.started
    result = result_of(directory)
    shutil.rmtree(directory.path)
    return result, seconds

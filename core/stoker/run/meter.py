"""Keeps a run's ledger while an attempt lasts, and settles the account of one that was killed.

Whoever begins and ends attempts has a meter: the supervisor, so that what is paid for before ranks
know anything and after they are gone counts too; under foreign launchers, rank 0.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, Literal

from stoker.errors import StorageError
from stoker.run.complaints import complain
from stoker.run.directory import RunDirectory
from stoker.run.host import boot_id
from stoker.run.ledger import Entry, Tariff, append_entry, read_ledger, usd_of
from stoker.run.outcome import read_outcomes

MOST_SECONDS_ALONE: Final = 600.0
"""Ranks whose supervisor was killed hold the run no longer than that."""


class Meter:
    """The account of one attempt: an entry as it begins, at every interval, and as it ends.

    What cannot be written is said once, and is part of the next entry that can.
    """

    def __init__(
        self,
        directory: RunDirectory,
        tariff: Tariff,
        *,
        attempt: int,
        gpus: int,
        say: Callable[[str], None] = complain,
    ) -> None:
        self.path = directory.ledger_path
        self.tariff = tariff
        self.attempt = attempt
        self.gpus = gpus
        self._directory = directory
        self._say = say
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stoker-meter", daemon=True)
        self._is_silent = False
        self.begun = self._entry("begin")
        """The first entry."""

    def start(self) -> Meter:
        """Settle the attempt before, begin this one, and go on beside whatever else happens."""
        try:
            settle(self._directory)
        except StorageError as error:
            self._complain(error)
        self._write(self.begun)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Write the last entry; nothing happens the second time."""
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
            self._write(self._entry("end"))

    def _run(self) -> None:
        while not self._over.wait(self.tariff.interval_seconds):
            self._write(self._entry("running"))

    def _entry(self, kind: Literal["begin", "running", "end"]) -> Entry:
        now, price = time.monotonic(), self.tariff.usd_per_gpu_hour
        seconds = now - self._started
        return Entry(
            kind=kind,
            attempt=self.attempt,
            t=time.time(),
            uptime=now,
            boot_id=boot_id(),
            seconds=seconds,
            gpus=self.gpus,
            usd_per_gpu_hour=price,
            usd=usd_of(seconds, self.gpus, price),
            source=self.tariff.source,
            budget_usd=self.tariff.budget_usd,
            budget_hours=self.tariff.budget_hours,
        )

    def _write(self, entry: Entry) -> None:
        try:
            append_entry(self.path, entry)
        except StorageError as error:
            self._complain(error)

    def _complain(self, error: StorageError) -> None:
        if not self._is_silent:
            self._is_silent = True
            self._say(f"the ledger is behind: {error}")


def settle(directory: RunDirectory) -> None:
    """End the account of an attempt that was killed, by the last that its ranks are known to have done.

    Ranks that outlived their supervisor say when they ended, by the monotonic clock; of others there is
    a last sign of life, by the wall clock. What came after that nobody knows. Raises `StorageError`.
    """
    ledger = read_ledger(directory.ledger_path)
    if not ledger.is_open:
        return
    last = ledger.latest[-1]
    seconds, source = _last_known(directory, last)
    append_entry(
        directory.ledger_path,
        Entry(
            kind="settled",
            attempt=last.attempt,
            t=time.time(),
            uptime=time.monotonic(),
            boot_id=boot_id(),
            seconds=seconds,
            gpus=last.gpus,
            usd_per_gpu_hour=last.usd_per_gpu_hour,
            usd=usd_of(seconds, last.gpus, last.usd_per_gpu_hour),
            source=source,
            budget_usd=last.budget_usd,
            budget_hours=last.budget_hours,
        ),
    )


def _last_known(directory: RunDirectory, last: Entry) -> tuple[float, str]:
    """How long an attempt lasted at least, and what says so."""
    ends = [
        outcome.uptime - last.uptime
        for outcome in read_outcomes(directory, last.attempt)
        if outcome.boot_id == last.boot_id
    ]
    if ends and max(ends) > 0:
        return last.seconds + max(ends), "what its ranks wrote as they ended"
    signs = [_modified(path) for path in directory.attempt_path(last.attempt).glob("rank-*.beat")]
    later = max(signs, default=0.0) - last.t
    if later > 0:
        return last.seconds + min(later, MOST_SECONDS_ALONE), "the last sign of life of its ranks"
    return last.seconds, "its last entry"


def _modified(path: os.PathLike[str]) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0

"""What has been spent until now: earlier attempts by the ledger, this one by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from stoker.run.host import boot_id
from stoker.run.ledger import SECONDS_PER_HOUR, Entry, Ledger, Tariff, read_ledger, usd_of
from stoker.run.meter import Meter

if TYPE_CHECKING:
    from stoker.run.context import Run


class Account:
    """Reckons on from the ledger, so that asking costs no look at a file."""

    def __init__(self, ledger: Ledger, meter: Meter | None) -> None:
        """`ledger` has this attempt's beginning; `meter` is ours where nobody else keeps the ledger."""
        last = ledger.latest[-1]
        self.gpus = last.gpus
        self.usd_per_gpu_hour = last.usd_per_gpu_hour
        self.source = last.source
        self._started = _beginning(last)
        self._seconds_before = ledger.seconds - last.seconds
        self._usd_before = ledger.usd - last.usd
        self._meter = meter

    @property
    def usd_per_hour(self) -> float:
        """Of all GPUs."""
        return self.gpus * self.usd_per_gpu_hour

    @property
    def attempt_seconds(self) -> float:
        """Since this attempt began."""
        return time.monotonic() - self._started

    @property
    def seconds(self) -> float:
        """Of all attempts."""
        return self._seconds_before + self.attempt_seconds

    @property
    def usd(self) -> float:
        """Of all attempts."""
        return self._usd_before + self.cost_of(self.attempt_seconds)

    @property
    def hours(self) -> float:
        """Of all attempts."""
        return self.seconds / SECONDS_PER_HOUR

    def cost_of(self, seconds: float) -> float:
        """US dollars for so many more seconds of all GPUs."""
        return usd_of(seconds, self.gpus, self.usd_per_gpu_hour)

    def cost_of_one(self, gpu_seconds: float) -> float:
        """US dollars for so many seconds of a single GPU."""
        return usd_of(gpu_seconds, 1, self.usd_per_gpu_hour)

    def close(self) -> None:
        """End the attempt's entries where they are ours."""
        if self._meter is not None:
            self._meter.stop()


def open_account(run: Run, tariff: Callable[[], Tariff]) -> Account:
    """The account of this attempt, on rank 0.

    Under foreign launchers, and in a test kit's run, no supervisor keeps the ledger: then we do.
    """
    ledger = read_ledger(run.directory.ledger_path)
    if ledger.is_open and ledger.latest[-1].attempt == run.attempt:
        return Account(ledger, None)
    meter = Meter(
        run.directory,
        tariff(),
        attempt=run.attempt,
        gpus=run.world_size,
        say=lambda message: run.events.write("alert", message=message),
    ).start()
    return Account(_with(read_ledger(run.directory.ledger_path), meter.begun), meter)


def _with(ledger: Ledger, begun: Entry) -> Ledger:
    """With the beginning of the attempt, also where the disk did not take it."""
    if ledger.is_open:
        return ledger
    return Ledger((*ledger.attempts, (begun,)))


def _beginning(entry: Entry) -> float:
    """When an attempt began, by our monotonic clock; a supervisor elsewhere has another one."""
    now = entry.uptime if entry.boot_id == boot_id() else time.monotonic()
    return now - entry.seconds

"""One rank's lines: how long steps take, how much of that is waiting, and what of the device is used."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import fmean

from stoker.run.events import EventWriter


class Pace:
    """Gathers the rows of log points and writes their means, at most once in an interval."""

    def __init__(
        self,
        samples: EventWriter,
        interval_seconds: float,
        *,
        flops_per_token: float | None,
        peak_flops: float | None,
        gpu_index: int | None = None,
    ) -> None:
        """`peak_flops`: of all ranks' devices together, per second. None where one is not known.

        `gpu_index`: of this rank's GPU, in the driver's order.
        """
        self._samples = samples
        self._interval_seconds = interval_seconds
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._gpu_index = gpu_index
        self._rows: list[Mapping[str, float]] = []
        self._written = time.monotonic()

    def note(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Steps just done."""
        self._rows += rows
        if time.monotonic() - self._written >= self._interval_seconds:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._write()
        self._samples.close()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        self._written = time.monotonic()
        seconds = sum(row["step_seconds"] for row in rows)
        tokens = sum(row["tokens_per_second"] * row["step_seconds"] for row in rows)
        waits = [row["wait_seconds"] for row in rows if "wait_seconds" in row]
        self._samples.write(
            "rank",
            step=int(rows[-1]["step"]),
            steps=len(rows),
            step_seconds=seconds / len(rows),
            wait_seconds=fmean(waits) if waits else None,
            tokens_per_second=tokens / seconds,
            flops_per_token=self._flops_per_token,
            mfu=self._mfu(tokens / seconds),
            gpu_index=self._gpu_index,
        )

    def _mfu(self, tokens_per_second: float) -> float | None:
        if self._flops_per_token is None or self._peak_flops is None:
            return None
        return tokens_per_second * self._flops_per_token / self._peak_flops

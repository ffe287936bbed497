"""One rank's lines: how long steps take, what that time goes to, and what of the device is used."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Final

from stoker.run.arithmetic import DATA_SHEET
from stoker.run.events import EventWriter

if TYPE_CHECKING:
    from stoker.train.work import Work

_PARTS: Final = (
    "wait_seconds",
    "data_seconds",
    "forward_seconds",
    "backward_seconds",
    "optimizer_seconds",
)


class Pace:
    """Gathers the rows of log points and writes their means, at most once in an interval."""

    def __init__(
        self,
        samples: EventWriter,
        interval_seconds: float,
        *,
        work: Work | None,
        gpu_index: int | None = None,
    ) -> None:
        """`work`: None where it could not be counted. `gpu_index`: of this rank's GPU, by the driver."""
        self._samples = samples
        self._interval_seconds = interval_seconds
        self._work = work
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
        self._samples.write(
            "rank",
            step=int(rows[-1]["step"]),
            steps=len(rows),
            step_seconds=seconds / len(rows),
            **{part: _mean(rows, part) for part in _PARTS},
            tokens_per_second=tokens / seconds,
            **self._used(tokens / seconds),
            gpu_index=self._gpu_index,
        )

    def _used(self, tokens_per_second: float) -> dict[str, float | None]:
        """FLOPs, and what share of the data sheet they are; None where nobody knows."""
        work = self._work
        if work is None:
            return dict.fromkeys(("flops_per_token", "hardware_flops_per_token", "mfu", "hfu"))
        model, hardware = work.model_flops_per_token, work.hardware_flops_per_token
        mfu = hfu = None
        if work.peak_flops_per_second and work.peak_source == DATA_SHEET:
            mfu = tokens_per_second * model / work.peak_flops_per_second
            hfu = tokens_per_second * hardware / work.peak_flops_per_second
        return {
            "flops_per_token": model,
            "hardware_flops_per_token": hardware,
            "mfu": mfu,
            "hfu": hfu,
        }


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float | None:
    values = [row[name] for row in rows if name in row]
    return fmean(values) if values else None

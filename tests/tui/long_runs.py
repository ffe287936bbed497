"""Makes a written run long: a million steps in a few seconds. Also used by benchmarks/tui.py."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice

from stoker.run.directory import RunDirectory

TOKENS_PER_STEP = 262_144
SECONDS_PER_STEP = 0.5
_LINE = (
    '{"v": 1, "t": %.6f, "attempt": %d, "rank": 0, "kind": "step", "total_steps": %d, "step": %d, '
    '"loss": %.16f, "learning_rate": %.12f, "grad_norm": %.16f, "tokens": %d, "supervised_tokens": %d, '
    '"tokens_per_second": %.12f, "step_seconds": %.16f}\n'
)
_LINES_AT_ONCE = 10_000


def lengthen(directory: RunDirectory, steps: int, resumed_at: int | None = None) -> None:
    """Replace the events of a run by so many steps, a checkpoint at every 50,000th.

    With `resumed_at` a first attempt came so far, and the second goes on a thousand steps before.
    """
    begin = directory.read_record().created
    lines = _lines(begin, steps, resumed_at)
    with directory.events_path.open("w") as file:
        while block := "".join(islice(lines, _LINES_AT_ONCE)):
            file.write(block)
    directory.update_record(step=steps, total_steps=steps)


def _lines(begin: float, steps: int, resumed_at: int | None) -> Iterator[str]:
    yield _other(begin, 1, "state", state="running", total_steps=steps, step=0)
    if resumed_at is None:
        yield from _steps(begin, 1, steps, steps, 1)
        return
    saved = max(0, resumed_at - 1_000)
    yield from _steps(begin, 1, resumed_at, steps, 1)
    t = begin + resumed_at * SECONDS_PER_STEP
    yield _other(t, 1, "state", state="preempted", exit_code=75, error=None)
    yield _other(t + 60, 2, "resume", step=saved, checkpoint=f"step-{saved:08}", passed_over=[])
    yield from _steps(begin + 600, saved + 1, steps, steps, 2)


def _steps(begin: float, first: int, last: int, total: int, attempt: int) -> Iterator[str]:
    for step in range(first, last + 1):
        warmth = step / total
        wave = math.sin(step * 0.01) * 0.05
        t = begin + step * SECONDS_PER_STEP
        yield _LINE % (
            t, attempt, total, step, 1.15 + 2.5 * math.exp(-8 * warmth) + wave, 1e-5 * (1 - warmth),
            0.4 + abs(wave), step * TOKENS_PER_STEP, step * 120_000, 70_000 + 1e4 * wave,
            SECONDS_PER_STEP + 0.01 * wave,
        )  # fmt: skip
        if step % 50_000 == 0:
            yield _other(t, attempt, "checkpoint", phase="committed", name=f"step-{step:08}", step=step,
                         seconds=7.0, bytes=114_800_000_000)  # fmt: skip


def _other(t: float, attempt: int, kind: str, **fields: object) -> str:
    return json.dumps({"v": 1, "t": t, "attempt": attempt, "rank": 0, "kind": kind, **fields}) + "\n"

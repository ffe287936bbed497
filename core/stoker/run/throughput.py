"""How fast a run trains, from the `step` events of an attempt, in bounded memory. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stoker.run.arithmetic import Arithmetic, arithmetic_of
from stoker.run.events import Event, EventTail
from stoker.run.numbers import number, whole

PARTS: Final = ("data", "forward", "backward", "optimizer", "waiting", "other")
"""What a step's time goes to; together all of it."""
_MOST_STEPS: Final = 4096
_READ_BYTES: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Of the latest attempt's steps without its first, which warms up. Seconds of rank 0."""

    attempt: int
    steps: int
    """Steps that were counted."""
    tokens_per_second: float
    """Tokens without padding, of all ranks."""
    supervised_tokens_per_second: float
    step_seconds_p50: float
    step_seconds_p95: float
    shares: dict[str, float] | None
    """Share of the steps' time by part; None where an older version has not written it."""
    saving_seconds: float
    """For which training stood still for checkpoints; in no step."""
    evaluating_seconds: float
    arithmetic: Arithmetic | None
    """None where it was not counted."""

    def summary(self) -> list[str]:
        """Its first lines for people: speed, and how long steps take."""
        paces = f"{_seconds(self.step_seconds_p50)} p50, {_seconds(self.step_seconds_p95)} p95"
        speed = f"{self.tokens_per_second:,.0f} tokens/s without padding"
        return [
            f"{speed}, {self.supervised_tokens_per_second:,.0f} of them supervised",
            f"step {paces}, over {self.steps:,} steps",
        ]

    def lines(self) -> list[str]:
        """For people, all of it."""
        lines = self.summary()
        if self.shares is not None:
            words = [f"{part} {share:.0%}" for part, share in self.shares.items() if share >= 0.005]
            lines.append(", ".join(words))
        lines.append(
            f"beside the steps: saving {_seconds(self.saving_seconds)}, "
            f"evaluating {_seconds(self.evaluating_seconds)}"
        )
        return [*lines, *(self.arithmetic.lines() if self.arithmetic else ())]


class Steps:
    """Takes in events as they come; keeps sums, and a thinned-out sample of step times."""

    def __init__(self) -> None:
        self._work: Event | None = None
        self._begin(0)

    def take(self, event: Event) -> None:
        """Take in an event; only those of the latest attempt count."""
        attempt = whole(event.get("attempt"))
        if attempt < self._attempt:
            return
        if attempt > self._attempt:
            self._begin(attempt)
        if event["kind"] == "work":
            self._work = event
        elif event["kind"] == "evaluate":
            self._evaluating += number(event.get("seconds"), 0.0)
        elif event["kind"] == "step":
            self._take_step(event)

    def result(self) -> Throughput | None:
        """What was found; None before the second step of the attempt."""
        if not self._steps or self._seconds <= 0:
            return None
        times = sorted(self._sample)
        shares = None
        if self._has_parts:
            other = max(0.0, self._seconds - sum(self._parts.values()))
            parts = {**self._parts, "other": other}
            whole_time = sum(parts.values())
            shares = {part: parts[part] / whole_time for part in PARTS}
        tokens_per_second = self._tokens / self._seconds
        return Throughput(
            attempt=self._attempt,
            steps=self._steps,
            tokens_per_second=tokens_per_second,
            supervised_tokens_per_second=self._supervised / self._seconds,
            step_seconds_p50=times[len(times) // 2],
            step_seconds_p95=times[min(len(times) - 1, int(0.95 * len(times)))],
            shares=shares,
            saving_seconds=self._saving,
            evaluating_seconds=self._evaluating,
            arithmetic=arithmetic_of(self._work, tokens_per_second),
        )

    def _begin(self, attempt: int) -> None:
        self._attempt = attempt
        self._before: Event | None = None
        self._work = None
        self._steps, self._seconds, self._tokens, self._supervised = 0, 0.0, 0.0, 0.0
        self._saving, self._evaluating = 0.0, 0.0
        self._parts = dict.fromkeys(PARTS[:-1], 0.0)
        self._has_parts = False
        self._sample: list[float] = []
        self._stride = 1

    def _take_step(self, event: Event) -> None:
        before, self._before = self._before, event
        self._saving += number(event.get("saving_seconds"), 0.0)
        seconds = number(event.get("step_seconds"))
        if before is None or seconds is None:
            return
        self._seconds += seconds
        self._tokens += _gained(before, event, "tokens")
        self._supervised += _gained(before, event, "supervised_tokens")
        for part in self._parts:
            key = "wait_seconds" if part == "waiting" else f"{part}_seconds"
            self._has_parts |= part == "forward" and key in event
            self._parts[part] += number(event.get(key), 0.0)
        if self._steps % self._stride == 0:
            self._sample.append(seconds)
            if len(self._sample) > _MOST_STEPS:
                # Every other one stays: evenly spread over the attempt, and bounded.
                self._sample, self._stride = self._sample[::2], self._stride * 2
        self._steps += 1


def throughput_of(events: Iterable[Event]) -> Throughput | None:
    """Of events that have been read; None where too few steps were done."""
    steps = Steps()
    for event in events:
        steps.take(event)
    return steps.result()


def read_throughput(path: Path) -> Throughput | None:
    """Of `events.jsonl`, read piece by piece; None where too few steps were done."""
    steps, tail = Steps(), EventTail(path)
    while tail.has_more:
        for event in tail.read(_READ_BYTES):
            steps.take(event)
    return steps.result()


def _gained(before: Event, event: Event, name: str) -> float:
    return number(event.get(name), 0.0) - number(before.get(name), 0.0)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.01 or not seconds else f"{1000 * seconds:.2g} ms"

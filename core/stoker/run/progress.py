"""What `run` and `watch` show of a run's events: a live line, plain lines, or the events themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from stoker.run.events import Event
from stoker.run.lines import StepClock, describe, progress_line, step_line
from stoker.run.telemetry import KINDS, TelemetryView

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_STEP_LINES = 1.0
_SECONDS_BETWEEN_PHASE_LINES = 10.0
_SECONDS_BETWEEN_RANK_LINES = 60.0


class View(Protocol):
    """Shows events and telemetry. `show` gets what came since its last call, perhaps nothing."""

    def show(self, events: Sequence[Event]) -> None: ...

    def say(self, text: str) -> None:
        """Show a line that is no event."""

    def close(self) -> None:
        """Show what was held back and give the terminal back."""


def make_view(out: TextIO, *, plain: bool = False, as_json: bool = False) -> View:
    """The view for a stream: live on a terminal, plain lines elsewhere."""
    if as_json:
        return JsonView(out)
    return PlainView(out) if plain or not out.isatty() else LiveView(out)


class JsonView:
    """Events, and telemetry with its host, as JSON lines."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def show(self, events: Sequence[Event]) -> None:
        """Write one line for each event."""
        for event in events:
            self.out.write(json.dumps(event) + "\n")
        self.out.flush()

    def say(self, text: str) -> None:
        """Nothing: the output holds events only."""

    def close(self) -> None:
        """Nothing is held back."""


class PhaseClock:
    """Estimates the remaining seconds of long work from the pace since its phase began."""

    def __init__(self) -> None:
        self._phase = ""
        self._start: tuple[float, int] = (0.0, 0)

    def remaining(self, progress: Event) -> float | None:
        """Seconds until `done` reaches `total`; None where there is no pace yet."""
        moment, done = float(progress["t"]), int(progress.get("done", 0))
        if progress.get("phase") != self._phase or done < self._start[1]:
            self._phase, self._start = str(progress.get("phase")), (moment, done)
        elapsed, advanced = moment - self._start[0], done - self._start[1]
        if advanced <= 0 or elapsed <= 0:
            return None
        return elapsed / advanced * max(0, int(progress.get("total", 0)) - done)


class PlainView:
    """Lines for files and pipes: steps at most one a second, long work about every ten seconds.

    Ranks, GPUs and hosts have a line each at most once a minute and at the end; a rank that others wait
    for is named when that becomes clear.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.out = out
        self._clock = clock
        self._steps = StepClock()
        self._phases = PhaseClock()
        self._cost: Event | None = None
        self._held_step: Event | None = None
        self._last_step_line = float("-inf")
        self._last_phase_line: dict[str, float] = {}
        self._telemetry = TelemetryNotes(clock)

    def show(self, events: Sequence[Event]) -> None:
        """Write the lines that are due."""
        for event in events:
            if event["kind"] == "step":
                self._steps.note(event)
                self._held_step = event
            elif event["kind"] == "cost":
                self._cost = event
            elif event["kind"] == "progress":
                self._show_progress(event)
            elif event["kind"] in KINDS:
                self._telemetry.take(event)
            elif (line := describe(event)) is not None:
                self._flush_step()
                self._write(line)
        if self._clock() - self._last_step_line >= _SECONDS_BETWEEN_STEP_LINES:
            self._flush_step()
        self._write_all(self._telemetry.due())
        self.out.flush()

    def say(self, text: str) -> None:
        """Write a line that is no event."""
        self._flush_step()
        self._write(text)
        self.out.flush()

    def close(self) -> None:
        """Write the last step and the last telemetry, if they were held back."""
        self._flush_step()
        self._write_all(self._telemetry.due(is_last=True))
        self.out.flush()

    def _show_progress(self, event: Event) -> None:
        remaining = self._phases.remaining(event)
        phase, now = str(event.get("phase")), self._clock()
        if now - self._last_phase_line.get(phase, float("-inf")) >= _SECONDS_BETWEEN_PHASE_LINES:
            self._last_phase_line[phase] = now
            self._write(progress_line(event, remaining))

    def _flush_step(self) -> None:
        if self._held_step is not None:
            step = self._held_step
            self._write(step_line(step, self._steps.remaining(step), self._cost))
            self._held_step, self._last_step_line = None, self._clock()

    def _write_all(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._write(line)

    def _write(self, line: str) -> None:
        self.out.write(line + "\n")


class TelemetryNotes:
    """When what is to be said about ranks, GPUs and hosts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._view = TelemetryView()
        self._is_new = False
        self._last = float("-inf")
        self._named: int | None = None

    def take(self, line: Event) -> None:
        """A line of telemetry came."""
        self._view.take(line)
        self._is_new = True

    def straggler(self) -> str | None:
        """A line about a slow rank that was not named before."""
        rank = self._view.ranks.straggler
        if rank is None or rank == self._named:
            return None
        self._named = rank
        return self._view.straggler_line()

    def due(self, *, is_last: bool = False) -> list[str]:
        """Lines to write now."""
        lines = [line] if (line := self.straggler()) else []
        waited = self._clock() - self._last >= _SECONDS_BETWEEN_RANK_LINES
        if self._is_new and self._view.ranks.paces and (waited or is_last):
            self._is_new, self._last = False, self._clock()
            lines += self._view.lines()
        return lines


class LiveView:
    """One live line at the bottom of a terminal, with what happened above it."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress: Progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=Console(file=out, highlight=False),
            transient=True,
        )
        self._task: TaskID = self._progress.add_task("starting", total=None)
        self._steps = StepClock()
        self._phases = PhaseClock()
        self._cost: Event | None = None
        self._telemetry = TelemetryNotes(time.monotonic)
        self._progress.start()

    def show(self, events: Sequence[Event]) -> None:
        """Bring the live line up to date, and write the other events above it, slow ranks named."""
        for event in events:
            if event["kind"] == "step":
                self._steps.note(event)
                line = step_line(event, self._steps.remaining(event), self._cost)
                self._set(line, event["step"], event.get("total_steps"))
            elif event["kind"] == "cost":
                self._cost = event
            elif event["kind"] == "progress":
                line = progress_line(event, self._phases.remaining(event))
                self._set(line, event.get("done", 0), event.get("total") or None)
            elif event["kind"] in KINDS:
                self._telemetry.take(event)
            elif (text := describe(event)) is not None:
                self.say(text)
        if (slow := self._telemetry.straggler()) is not None:
            self.say(slow)

    def say(self, text: str) -> None:
        """Write a line above the live one."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the live line; the last step stays as a line."""
        task = self._progress.tasks[0]
        self._progress.stop()
        if task.description.startswith("step "):
            self.say(task.description)

    def _set(self, line: str, done: int, total: int | None) -> None:
        self._progress.update(self._task, description=line, completed=done, total=total)

"""What the events of a run add up to, taken in as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Final

from stoker.run.events import Event
from stoker.run.lines import StepClock
from stoker.run.numbers import number, whole
from stoker.run.progress import PhaseClock
from stoker_tui.models.happenings import Happening, Mark, happening_of, mark_kind_of, words_of
from stoker_tui.models.tables import StepTable

_MOST_HAPPENINGS: Final = 5_000
_MOST_MARKS: Final = 20_000
_SPEED_STEPS: Final = 50


class Story:
    """Tables, marks and lines made of events, the same however the events are split into calls."""

    def __init__(self, mfu_per_speed: Mapping[int, float] | None = None) -> None:
        """`mfu_per_speed`: MFU for each token per second, by attempt; looked at as rows come."""
        self.steps = StepTable()
        self.evaluations = StepTable(("eval_loss",))
        self.happenings: list[Happening] = []
        """Oldest first; the latest 5,000."""
        self.marks: list[Mark] = []
        """As they came; the latest 20,000."""
        self.total_steps = 0
        self.cost: Event | None = None
        """The latest of that kind."""
        self.progress: Event | None = None
        """The latest of that kind, until steps are done or the state changes."""
        self.progress_seconds: float | None = None
        """Until that is done, as far as its pace tells."""
        self.is_training = False
        """Whether the latest attempt has come to its steps, and is not over."""
        self.supervised_per_second: float | None = None
        """Supervised tokens of the latest step over its time; None until two steps came in a row."""
        self._last_row: Event = {}
        self._mfu_per_speed = {} if mfu_per_speed is None else mfu_per_speed
        self._phases = PhaseClock()
        self._early: list[int] = []
        """Marks at steps whose rows have not come yet."""

    def take(self, events: Sequence[Event]) -> None:
        """Take in events, oldest first."""
        rows: list[Event] = []
        for event in events:
            if event["kind"] == "step":
                rows.append(event)
            else:
                self._take_rows(rows)
                rows = []
                self._take_other(event)
        self._take_rows(rows)

    def remaining_seconds(self) -> float | None:
        """Until the last step is done; before the first, until what is in progress is.

        At the pace of the latest steps; None without a pace.
        """
        if not self.is_training:
            return self.progress_seconds if self.progress is not None else None
        clock, table = StepClock(), self.steps
        if "step_seconds" not in table.names:
            return None
        for seconds in table.column("step_seconds")[-_SPEED_STEPS:]:
            if isfinite(seconds):
                clock.note({"step_seconds": seconds})
        return clock.remaining({"step": table.last_step, "total_steps": self.total_steps})

    def _take_rows(self, rows: list[Event]) -> None:
        if not rows:
            return
        if self._mfu_per_speed:
            self._add_mfu(rows)
        self.steps.append(rows)
        self.supervised_per_second = _supervised_speed([self._last_row, *rows[-2:]])
        self._last_row = rows[-1]
        self.total_steps = whole(rows[-1].get("total_steps"), self.total_steps)
        self.progress, self.is_training = None, True
        self._place_early_marks()

    def _add_mfu(self, rows: list[Event]) -> None:
        for row in rows:
            factor = self._mfu_per_speed.get(whole(row.get("attempt")))
            speed = number(row.get("tokens_per_second"))
            if factor is not None and speed is not None:
                row["mfu"] = factor * speed

    def _take_other(self, event: Event) -> None:
        kind = event["kind"]
        if kind == "progress":
            self._take_progress(event)
        elif kind == "cost":
            self.cost = event
        else:
            if kind in ("state", "resume"):
                self._take_turn(event)
            elif kind == "evaluate":
                self._take_evaluation(event)
            self._add_mark(event)
            if (line := happening_of(event)) is not None:
                self.happenings.append(line)
                del self.happenings[:-_MOST_HAPPENINGS]

    def _take_progress(self, event: Event) -> None:
        event = event | {name: whole(event.get(name)) for name in ("done", "total")}
        self.progress = event | {"t": number(event.get("t"), 0.0)}
        self.progress_seconds = self._phases.remaining(self.progress)

    def _take_turn(self, event: Event) -> None:
        """An attempt began, or goes on after a step."""
        self.total_steps = whole(event.get("total_steps"), self.total_steps)
        if event["kind"] == "state":
            self.progress, self.is_training = None, event.get("state") == "running"
            if not self.is_training:
                return
        step = event.get("step")
        if isinstance(step, int):
            attempt = whole(event.get("attempt"))
            self.steps.supersede(attempt, step)
            self.evaluations.supersede(attempt, step)

    def _take_evaluation(self, event: Event) -> None:
        step = whole(event.get("step"), -1)
        # Its own `tokens` are those of the evaluation rows.
        self.evaluations.append([event | {"tokens": self.steps.tokens_at(step)}])

    def _add_mark(self, event: Event) -> None:
        kind = mark_kind_of(event)
        if kind is None:
            return
        step = whole(event.get("step"), self.steps.last_step)
        if step > self.steps.last_step:
            self._early.append(len(self.marks))
        tokens, t = self.steps.tokens_at(step), number(event.get("t"), 0.0)
        self.marks.append(Mark(kind, step, tokens, t, words_of(event)))
        if len(self.marks) > _MOST_MARKS:
            self._place_early_marks(force=True)
            del self.marks[: _MOST_MARKS // 2]

    def _place_early_marks(self, *, force: bool = False) -> None:
        last = self.steps.last_step
        for index in self._early:
            mark = self.marks[index]
            if mark.step <= last:
                self.marks[index] = replace(mark, tokens=self.steps.tokens_at(mark.step))
        self._early = [] if force else [i for i in self._early if self.marks[i].step > last]


def _supervised_speed(rows: Sequence[Event]) -> float | None:
    """Of the last of them, by what the rows before it had counted."""
    before, last = rows[-2:]
    counts = [number(row.get("supervised_tokens")) for row in (before, last)]
    seconds = number(last.get("step_seconds"))
    is_next = whole(last.get("step")) == whole(before.get("step")) + 1
    if counts[0] is None or counts[1] is None or not seconds or not is_next:
        return None
    return max(0.0, counts[1] - counts[0]) / seconds

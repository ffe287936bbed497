"""Loss curves of several runs in one chart. A run keeps its colour and pattern while we look at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from stoker.run.directory import RunDirectory
from stoker_tui.models.chart_view import NUM_LOOKS, ChartView, Curve
from stoker_tui.models.feed import RunFeed
from stoker_tui.models.series import Series
from stoker_tui.models.since import Since
from stoker_tui.models.tables import Axis, StepTable
from stoker_tui.models.watch_charts import ChartOptions

MOST_RUNS = NUM_LOOKS
"""So many curves can be told apart."""


class Looks:
    """Which look each run has: the first that is free when it is marked, and the same one later."""

    def __init__(self) -> None:
        self._looks: dict[str, int] = {}

    def choose(self, names: Sequence[str]) -> dict[str, int]:
        """Looks of the first `MOST_RUNS` of these runs, all of them different."""
        chosen: dict[str, int] = {}
        wanted = names[:MOST_RUNS]
        for name in wanted:
            if name in self._looks and self._looks[name] not in chosen.values():
                chosen[name] = self._looks[name]
        for name in wanted:
            if name not in chosen:
                chosen[name] = next(look for look in range(MOST_RUNS) if look not in chosen.values())
        self._looks |= chosen
        return {name: chosen[name] for name in wanted}


class Overlay:
    """Follows the runs that are chosen, and describes the chart."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock`: Unix seconds."""
        self.feeds: dict[str, RunFeed] = {}
        self.looks: dict[str, int] = {}
        self._clock = clock
        self._changes = 0
        self._series: dict[str, tuple[StepTable, Axis, Series]] = {}

    def choose(self, runs: Mapping[str, RunDirectory], looks: Mapping[str, int]) -> None:
        """Follow these runs and no others."""
        if list(runs) == list(self.feeds) and dict(looks) == self.looks:
            return
        kept = self.feeds
        self.feeds = {
            name: kept[name] if name in kept else RunFeed(directory, self._clock)
            for name, directory in runs.items()
        }
        self._series = {name: self._series[name] for name in self._series if name in self.feeds}
        self.looks = dict(looks)
        self._changes += 1

    def read(self, budget_seconds: float) -> bool:
        """Take in what is new, the budget shared among the runs; True if more is waiting."""
        deadline = time.monotonic() + budget_seconds
        waits = False
        for place, feed in enumerate(self.feeds.values()):
            left = len(self.feeds) - place
            waits |= feed.read(max(0.001, (deadline - time.monotonic()) / left))
        return waits

    def loading(self) -> RunFeed | None:
        """A run whose file is so large that its `load` is worth a thread."""
        return next((feed for feed in self.feeds.values() if feed.needs_load), None)

    @property
    def revision(self) -> int:
        """Grows with every change of a curve."""
        return self._changes + sum(feed.steps.revision for feed in self.feeds.values())

    def view(self, options: ChartOptions, title: str) -> ChartView:
        """The chart. Curves are numbered by their looks where there are several."""
        return ChartView(
            title=title,
            curves=tuple(self._curves(options.axis)),
            x_label=options.axis,
            log="loss" in options.logs,
            smoothing=options.smoothing,
        )

    def _curves(self, axis: Axis) -> list[Curve]:
        curves = []
        for name, feed in self.feeds.items():
            if "loss" in feed.steps.names:
                look = self.looks.get(name, 0)
                label = f"{look + 1} {name}" if len(self.feeds) > 1 else name
                curves.append(Curve(label, self._summary(name, feed, axis), look))
        return curves

    def _summary(self, name: str, feed: RunFeed, axis: Axis) -> Series:
        table, of, series = self._series.get(name, (None, axis, None))
        if series is None or table is not feed.steps or of != axis:
            xs = feed.steps.axis(axis)
            if axis == "time":
                xs = Since(xs, feed.record.created if feed.record is not None else 0.0)
            series = Series(xs, feed.steps.column("loss"))
            self._series[name] = (feed.steps, axis, series)
        series.refresh()
        return series

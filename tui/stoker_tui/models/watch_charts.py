"""The charts of one run: which curves they have, their marks, and what the keys have chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from stoker.run.lines import clean
from stoker_tui.models.amounts import known, percent, percentile, seconds_short
from stoker_tui.models.chart_ticks import figure
from stoker_tui.models.chart_view import ChartView, Curve, Mark
from stoker_tui.models.percentiles import WINDOW, Percentiles, Strided
from stoker_tui.models.series import Series
from stoker_tui.models.since import Since
from stoker_tui.models.styled import has_words
from stoker_tui.models.x_range import XRange

if TYPE_CHECKING:
    from stoker_tui.models.feed import RunFeed
    from stoker_tui.models.tables import Axis, StepTable

AXES: Final[tuple[Axis, ...]] = ("step", "tokens", "time")
SMOOTHINGS: Final = (0.0, 0.6, 0.9, 0.98)
CHARTS: Final = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "step_seconds")
GRID: Final = (*CHARTS, "wait")
"""What is seen first, `wait` being no chart of steps."""
_TITLES: Final = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_second": "tokens/s",
    "step_seconds": "step time",
    "mfu": "MFU",
}
_LATEST_STEPS: Final = 100
_FEW_STEPS: Final = 4 * WINDOW
_WHOLE: Final = XRange()


@dataclass(frozen=True)
class ChartOptions:
    """What the keys have chosen, for all charts but `logs`."""

    axis: Axis = "step"
    logs: frozenset[str] = frozenset()
    """Charts with a logarithmic y."""
    smoothing: float = 0.0
    x_range: XRange = _WHOLE

    def along_next_axis(self) -> ChartOptions:
        """Along the next of step, tokens, time; all of it, as x means something else."""
        axis = AXES[(AXES.index(self.axis) + 1) % len(AXES)]
        return replace(self, axis=axis, x_range=XRange())

    def with_log(self, chart: str) -> ChartOptions:
        """With a logarithmic y of one chart, or without."""
        return replace(self, logs=self.logs ^ {chart})

    def smoothed_more(self) -> ChartOptions:
        """The next of some smoothings, which begin again after the strongest."""
        place = SMOOTHINGS.index(self.smoothing)
        return replace(self, smoothing=SMOOTHINGS[(place + 1) % len(SMOOTHINGS)])


def chart_names(feed: RunFeed, words: str = "") -> tuple[str, ...]:
    """`GRID`, then whatever else is known of steps, of plugins too; those whose title has all the words.

    All of them where none has.
    """
    names = (*GRID, *(name for name in feed.steps.names if name not in CHARTS))
    return tuple(name for name in names if has_words(_name(name), words)) or names


class RunCharts:
    """Keeps summaries of the columns of one run, and describes its charts."""

    def __init__(self, feed: RunFeed) -> None:
        self._feed = feed
        self._steps = feed.steps
        self._series: dict[tuple[Axis, str], Series] = {}
        self._paces: Percentiles | None = None
        self._marks: tuple[Mark, ...] = ()

    def refresh(self, axis: Axis) -> None:
        """Take in what the feed has read since, and another axis. To be called before `view`."""
        if self._feed.steps is not self._steps:
            # A large file was read: its table takes the place of an overview.
            self._steps = self._feed.steps
            self._series.clear()
            self._paces = None
        if self._paces is not None:
            self._paces.refresh()
        for (of, _), series in self._series.items():
            if of == axis:
                series.refresh()
        self._marks = tuple(self._marks_along(axis))

    def extent(self, axis: Axis) -> tuple[float, float] | None:
        """The first and the last x."""
        xs = self._axis(self._feed.steps, axis)
        return (xs[0], xs[-1]) if len(xs) else None

    def view(self, key: str, options: ChartOptions) -> ChartView:
        """One of `CHARTS`, or any other column of steps."""
        axis = options.axis
        return ChartView(
            title=_name(key),
            curves=tuple(self._curves(key, axis)),
            marks=self._marks,
            x_label=axis,
            log=key in options.logs,
            smoothing=options.smoothing,
            x_range=options.x_range.over(self.extent(axis)),
            latest=self._latest(key),
        )

    def _curves(self, key: str, axis: Axis) -> Iterator[Curve]:
        if key == "step_seconds":
            yield from self._pace_curves(axis)
            return
        label = "train" if key == "loss" else _name(key)
        yield from self._curve(self._feed.steps, key, label, axis)
        if key == "loss":
            yield from self._curve(self._feed.evaluations, "eval_loss", "eval", axis)

    def _curve(self, table: StepTable, column: str, label: str, axis: Axis) -> Iterator[Curve]:
        if column in table.names:
            xs = self._axis(table, axis)
            yield Curve(label, self._summary(axis, column, xs, table.column(column)))

    def _pace_curves(self, axis: Axis) -> Iterator[Curve]:
        """The middle and the slow end of step times; the times themselves while they are few."""
        steps = self._feed.steps
        if "step_seconds" not in steps.names:
            return
        if len(steps) < _FEW_STEPS:
            yield from self._curve(steps, "step_seconds", "step", axis)
            return
        if self._paces is None:
            self._paces = Percentiles(steps.column("step_seconds"))
            self._paces.refresh()
        xs = Strided(self._axis(steps, axis))
        yield Curve("p50", self._summary(axis, "p50", xs, self._paces.p50))
        yield Curve("p95", self._summary(axis, "p95", xs, self._paces.p95))

    def _summary(self, axis: Axis, name: str, xs: Sequence[float], ys: Sequence[float]) -> Series:
        if (axis, name) not in self._series:
            known = next((series for (_, of), series in self._series.items() if of == name), None)
            self._series[axis, name] = Series(xs, ys) if known is None else known.along(xs)
        return self._series[axis, name]

    def _axis(self, table: StepTable, axis: Axis) -> Sequence[float]:
        xs = table.axis(axis)
        return Since(xs, self._origin) if axis == "time" else xs

    @property
    def _origin(self) -> float:
        record = self._feed.record
        return record.created if record is not None else 0.0

    def _marks_along(self, axis: Axis) -> Iterator[Mark]:
        for mark in self._feed.marks:
            x = {"step": mark.step, "tokens": mark.tokens, "time": mark.t - self._origin}[axis]
            if mark.kind != "evaluate":
                yield Mark(float(x), mark.kind)

    def _latest(self, key: str) -> str:
        steps = self._feed.steps
        if key == "step_seconds":
            return self._pace_words()
        if key not in steps.names:
            return ""
        value = known(steps.column(key)[-1], _words(key))
        if key == "loss" and len(self._feed.evaluations):
            return f"{value}  eval {known(self._feed.evaluations.latest('eval_loss'))}"
        supervised = self._feed.supervised_per_second
        if key == "tokens_per_second" and supervised is not None:
            return f"{value}  supervised {figure(supervised)}"
        return value

    def _pace_words(self) -> str:
        if "step_seconds" not in self._feed.steps.names:
            return ""
        values = self._feed.steps.column("step_seconds")[-_LATEST_STEPS:]
        middle, slow = percentile(values, 0.5), percentile(values, 0.95)
        return f"p50 {seconds_short(middle)}  p95 {seconds_short(slow)}"


def _name(key: str) -> str:
    return _TITLES.get(key) or clean(key.replace("_seconds", "").replace("_", " "))


def _words(key: str) -> Callable[[float], str]:
    """How a value of a column is written."""
    if key == "mfu":
        return percent
    return seconds_short if key.endswith("_seconds") else figure

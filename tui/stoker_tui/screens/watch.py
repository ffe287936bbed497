"""The screen Watch: one run, live or finished."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.binding import BindingType

from stoker.run.watching import handle
from stoker_tui.keys import bind
from stoker_tui.models.actions import Change, twin
from stoker_tui.models.run_changes import possible
from stoker_tui.models.x_range import XRange
from stoker_tui.screens.filtered_run import FilteredRun
from stoker_tui.widgets.chart import Chart
from stoker_tui.widgets.text_pane import TextPane

_PAN = 0.25
"""Of what is shown."""
_LOOKS = [
    bind("z", "zoom", "Zoom", "Give the chosen pane all the room, or take it back.", id="watch.zoom"),
    bind("[", "chart(-1)", "Chart", "The chart before.", id="watch.previous", show=False),
    bind("]", "chart(1)", "Chart", "The next chart.", id="watch.next"),
    bind("plus,equals_sign", "closer", "Nearer", "Show half as much of x.", id="watch.closer",
         show=False),
    bind("minus", "wider", "Wider", "Show twice as much of x.", id="watch.wider", show=False),
    bind("0", "whole", "All", "Show all of x.", id="watch.whole", show=False),
    bind("less_than_sign", "pan(-1)", "Earlier", "Move x to what was earlier.", id="watch.earlier",
         show=False),
    bind("greater_than_sign", "pan(1)", "Later", "Move x to what was later.", id="watch.later",
         show=False),
    bind("x", "axis", "Axis", "Along x: steps, tokens or time.", id="watch.axis"),
    bind("g", "log", "Log", "Make y of this chart logarithmic, or not.", id="watch.log"),
    bind("v", "smooth", "Smooth", "Smooth curves more, then not at all.", id="watch.smooth", show=False),
    bind("/", "filter", "Filter", "Show only charts, or events, that have some words.",
         id="watch.filter", show=False),
    bind("y", "copy", "Copy", "Copy the pane's text; of a chart, the command.", id="watch.copy",
         show=False),
    bind("tab", "pane(1)", "Pane", "The next pane.", id="watch.pane", show=False),
    bind("shift+tab", "pane(-1)", "Pane", "The pane before.", id="watch.pane_before", show=False),
    bind("escape", "back", "Back", "Show what was left out, then all panes.", id="watch.back",
         show=False),
]  # fmt: skip
_CHANGES = [
    bind("C", "checkpoint", "Checkpoint", "Ask the run for a checkpoint.", id="watch.checkpoint",
         twin="stoker checkpoint RUN", changes=True),
    bind("S", "stop", "Stop", "Ask the run to save and stop.", id="watch.stop",
         twin="stoker stop RUN", changes=True),
    bind("R", "resume", "Resume", "Go on with a run that was left, from its newest checkpoint.",
         id="watch.resume", twin="stoker resume RUN --detach", changes=True),
]  # fmt: skip


class WatchScreen(FilteredRun):
    """Head, charts and tables of one run, and what can be asked of it."""

    TITLE_WORD: ClassVar[str] = "Watch"
    BEAT_SECONDS: ClassVar[float] = 0.4
    """What is new is seen within half a second, and painted only where something is."""
    HELP: ClassVar[str] = (
        "One run, live or finished: its curves, what each rank does, what happened, what it costs, and"
        " how that compares with its plan. tab goes from pane to pane, z gives one all the room."
        " On a small terminal there is one chart ([ and ] change it) and one table (tab changes it)."
        " Marks on charts: c checkpoint, R resume, P preemption, ! alert."
    )
    CSS_PATH = "watch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*_LOOKS, *_CHANGES]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Requests that make no sense for the run as it is are dimmed."""
        if not possible(action, self.feed.state if self.feed is not None else None):
            return None
        return super().check_action(action, parameters)

    def why_not(self, action: str) -> str:
        """The state of the run."""
        feed = self.feed
        if feed is None or feed.record is None:
            return "there is no run that can be read"
        return f"{feed.record.name} is {feed.state}"

    def action_zoom(self) -> None:
        """The chosen pane takes all the room, or gives it back."""
        layout = self.body.layout_now
        zoomed = None if layout.zoomed is not None else self._chosen()
        self.arrange_panes(replace(layout, zoomed=zoomed))

    def action_back(self) -> None:
        """Out of the filter, else all panes again."""
        if not self.leave_filter():
            self.arrange_panes(replace(self.body.layout_now, zoomed=None))

    def action_chart(self, step: int) -> None:
        """The next chart, or the one before."""
        layout = self.body.layout_now.next_chart(step)
        self.arrange_panes(layout)
        self.choose(layout.chart)

    def action_pane(self, step: int) -> None:
        """The next pane, or the one before."""
        layout = self.body.layout_now
        name = layout.next_pane(self._chosen(), step)
        self.arrange_panes(layout.in_front(name))
        self.choose(name)

    def action_closer(self) -> None:
        """Half as much of x, around the cursor where there is one."""
        if self.charts is not None:
            extent = self.charts.extent(self.options.axis)
            x_range = self.options.x_range.closer(extent, self._cursor())
            self.set_options(replace(self.options, x_range=x_range))

    def action_wider(self) -> None:
        """Twice as much of x."""
        self.set_options(replace(self.options, x_range=self.options.x_range.wider()))

    def action_whole(self) -> None:
        """All of x."""
        self.set_options(replace(self.options, x_range=XRange()))

    def action_pan(self, direction: int) -> None:
        """Earlier or later."""
        if self.charts is not None:
            extent = self.charts.extent(self.options.axis)
            moved = self.options.x_range.moved(direction * _PAN, extent)
            self.set_options(replace(self.options, x_range=moved))

    def action_axis(self) -> None:
        """The next of step, tokens, time."""
        for chart in self.body.charts.values():
            # Where it stands means nothing along another axis.
            chart.cursor = None
        self.set_options(self.options.along_next_axis())

    def action_log(self) -> None:
        """A logarithmic y for the chosen chart, or not."""
        self.set_options(self.options.with_log(self.body.layout_now.chart))

    def action_smooth(self) -> None:
        """The next of some smoothings."""
        self.set_options(self.options.smoothed_more())

    def action_copy(self) -> None:
        """The text of a pane; of a chart, the command that shows the same run."""
        pane = self.focused
        if isinstance(pane, TextPane):
            self.app.copy_to_clipboard(pane.text)
        elif self.feed is not None:
            self.app.copy_to_clipboard(twin(["watch", handle(self.feed.directory)]))

    def action_checkpoint(self) -> None:
        """Ask the run for a checkpoint."""
        self._change("checkpoint")

    def action_resume(self) -> None:
        """Go on with the run."""
        self._change("resume")

    def action_stop(self) -> None:
        """Ask the run to stop."""
        self._change("stop")

    def _change(self, change: Change) -> None:
        if self.feed is not None:
            self.change_run(change, self.feed.directory)

    def _cursor(self) -> float | None:
        return self.focused.cursor if isinstance(self.focused, Chart) else None

    def _chosen(self) -> str:
        """The pane that has the focus; the chart in front where none has it."""
        return self.body.name_of(self.focused) or self.body.layout_now.chart

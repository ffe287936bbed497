"""Logs that are open: one text, or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.run.directory import RunDirectory
from stoker.run.log_names import open_logs
from stoker.run.log_query import LogQuery
from stoker.run.log_remarks import Happenings
from stoker.run.log_text import Log
from stoker_tui.models.log_rows import LogFilter
from stoker_tui.models.log_view import LogView

MOST_PANES = 4


@dataclass(frozen=True)
class Pane:
    """One text on the screen."""

    title: str
    view: LogView
    failing: int | None = None
    """Index of the log whose rank failed first."""


class OpenLogs:
    """The panes of one attempt, brought up to date together."""

    def __init__(
        self, directory: RunDirectory, attempt: int, groups: Sequence[Sequence[Log]], failing: int | None
    ) -> None:
        """Reads what is there, which may take a while: call it from a worker.

        `groups`: the logs of each pane. `failing`: the rank that failed first.
        """
        self._happenings = Happenings(directory.events_path, attempt)
        remarks = self._happenings.read()
        self.panes = tuple(_open(directory, attempt, group, failing) for group in groups)
        for pane in self.panes:
            pane.view.text.refresh(remarks)
            pane.view.changed()

    def refresh(self) -> bool:
        """Take in what is new. Returns whether there is anything."""
        remarks = self._happenings.read()
        changed = False
        for pane in self.panes:
            if pane.view.text.refresh(remarks):
                pane.view.changed()
                changed = True
        return changed

    def set_filter(self, filter_: LogFilter, query: LogQuery | None) -> None:
        """Of all panes."""
        for pane in self.panes:
            pane.view.set_filter(filter_, query)

    def follow(self, is_following: bool) -> None:
        """All panes stay at their ends, or not."""
        for pane in self.panes:
            pane.view.follow(is_following)


def _open(directory: RunDirectory, attempt: int, logs: Sequence[Log], failing: int | None) -> Pane:
    text = open_logs(directory, attempt, logs)
    marked = next(
        (index for index, log in enumerate(logs) if failing is not None and log.rank == failing), None
    )
    title = ", ".join(log.name for log in logs)
    return Pane(title, LogView(text), marked)

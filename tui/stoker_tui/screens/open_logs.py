"""A screen that keeps logs of one run open and shows them in panes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Resize
from textual.widgets import Input, Static

from stoker_tui.models import log_words
from stoker_tui.models.log_desk import LogDesk
from stoker_tui.models.log_panes import OpenLogs, Pane
from stoker_tui.models.newest_run import newest_run
from stoker_tui.screens.base import CockpitScreen
from stoker_tui.widgets.log_pane import LogPane

_TELL_SECONDS = 0.3


class OpenLogsScreen(CockpitScreen):
    """Follows `session.run`, else the run that was changed last."""

    AUTO_FOCUS: ClassVar[str | None] = ""

    def __init__(self) -> None:
        super().__init__()
        self.desk: LogDesk | None = None
        self.opened: OpenLogs | None = None
        self.wrap = False
        self.times = False

    @property
    def pane(self) -> Pane | None:
        """The pane that has the focus, or the first."""
        if isinstance(self.focused, LogPane):
            return self.focused.pane
        return self.opened.panes[0] if self.opened is not None and self.opened.panes else None

    def compose_body(self) -> ComposeResult:
        """Which logs, panes, how they are shown, what is searched for."""
        yield Static(id="logs-head", markup=False)
        yield Static(id="logs-failure", markup=False)
        yield Static(id="logs-none", markup=False)
        yield Vertical(id="logs-panes")
        yield Static(id="logs-foot", markup=False)
        find = Input(id="logs-find", placeholder="words, or an /expression/", compact=True)
        find.disabled = True
        yield find

    def beat(self) -> None:
        """Take in what was written."""
        session = self.session
        if session.run is None:
            session.run = newest_run(session.folder)
        if session.run is not None and (
            self.desk is None or self.desk.directory.path != session.run.path
        ):
            self.desk = LogDesk(session.run)
            self.opened = None
        if self.desk is not None and (
            self.desk.scan() or (self.opened is None and not self.is_working("open"))
        ):
            self.reopen()
            return
        if self.opened is not None and self.opened.refresh():
            self._count()
        self.show_panes()

    def on_resize(self, event: Resize) -> None:
        """What stands above the panes has another width."""
        super().on_resize(event)
        self.call_after_refresh(self.show_panes)

    def reopen(self) -> None:
        """Open what is chosen now, in a thread: a run of months has much to read."""
        desk = self.desk
        if desk is None:
            return

        def opened(logs: OpenLogs) -> None:
            if desk is self.desk:
                self.opened = logs
                self.app.call_later(self._place_panes)

        self.look(lambda should_stop: desk.open(), opened, group="open")

    def apply_filter(self) -> None:
        """Show what the desk's filter lets through."""
        if self.desk is not None and self.opened is not None:
            self.opened.set_filter(self.desk.filter, self.desk.query)
            self._count()
            self.show_panes()

    def show_panes(self) -> None:
        """Paint what has changed."""
        for pane in self.query(LogPane):
            pane.show(wrap=self.wrap, times=self.times)
        self._say()

    def focus_pane(self) -> None:
        """The first pane takes keys, unless another one does."""
        panes = list(self.query(LogPane))
        if panes and not isinstance(self.focused, LogPane):
            panes[0].focus()

    def on_log_pane_moved(self, event: LogPane.Moved) -> None:
        """Say where we are."""
        self._say()

    async def _place_panes(self) -> None:
        """Widgets for the panes that are open now."""
        opened = self.opened
        if opened is None:
            return
        place = self.query_one("#logs-panes", Vertical)
        place.set_class(len(opened.panes) > 1, "-split")
        had_focus = not isinstance(self.focused, Input)
        await place.remove_children()
        if len(opened.panes) > 1:
            await place.mount_all(
                Vertical(Static(self._title(pane), classes="pane-title", markup=False), LogPane(pane),
                         classes="pane")
                for pane in opened.panes
            )  # fmt: skip
        else:
            await place.mount_all(LogPane(pane) for pane in opened.panes)
        if had_focus:
            self.focus_pane()
        self._count()
        self.call_after_refresh(self.show_panes)

    def _title(self, pane: Pane) -> str:
        return f"✗ {pane.title} failed first" if pane.failing is not None else pane.title

    def _count(self) -> None:
        """Count rows and matches in the background, where a filter or a search needs them."""
        panes = [pane for pane in self.opened.panes if pane.view.index.is_needed] if self.opened else []
        jobs = [
            (pane.view.index, pane.view.text.frozen()) for pane in panes if pane.view.index.fraction < 1
        ]
        if not jobs:
            return

        def work(should_stop: Callable[[], bool]) -> None:
            for index, text in jobs:
                index.work(text, should_stop, self._teller())

        self.look(work, lambda nothing: self.show_panes(), group="count")

    def _teller(self) -> Callable[[], None]:
        """Shows how far the counting has come, a few times a second; called from its thread."""
        told = time.monotonic()

        def tell() -> None:
            nonlocal told
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                self.app.call_from_thread(self.show_panes)

        return tell

    def _say(self) -> None:
        """What stands around the panes."""
        desk, opened = self.desk, self.opened
        has_panes = opened is not None and bool(opened.panes) and not (desk and desk.problem)
        self.query_one("#logs-panes").display = has_panes
        self.query_one("#logs-foot").display = has_panes
        self._set("logs-none", "" if has_panes else log_words.nothing(desk))
        self._set("logs-head", "" if desk is None else log_words.head(desk, self.size.width - 2))
        self._set("logs-failure", "" if desk is None else log_words.failure(desk))
        if desk is not None and has_panes:
            self._set("logs-foot", log_words.foot(desk, self.pane, wrap=self.wrap, times=self.times))

    def _set(self, name: str, text: str) -> None:
        """Paint a line again only where it says something else; an empty one takes no room."""
        widget = self.query_one(f"#{name}", Static)
        widget.display = bool(text)
        if widget.content != text:
            widget.update(text)

"""The chart widget: what it writes, its cursor, its colours."""

from __future__ import annotations

import importlib.util
import math
from array import array
from pathlib import Path

import pytest
from textual.app import App

from stoker_tui.models.chart_box import box
from stoker_tui.models.chart_view import ChartView, Curve
from stoker_tui.models.series import Series
from stoker_tui.models.session import Options, Session
from stoker_tui.widgets.chart import Chart

spec = importlib.util.spec_from_file_location("charts", Path(__file__).with_name("charts.py"))
charts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(charts)


class Shown(App[int]):
    """One chart, and what it said."""

    def __init__(self, view, *, plain=False):
        super().__init__()
        self.session = Session(options=Options(ascii=plain))
        self.chart = Chart(view)
        self.moves = []
        self.refreshed = []

    def compose(self):
        yield self.chart

    def on_mount(self):
        self.chart.focus()
        refresh = self.chart.refresh

        def counted(*regions, **options):
            self.refreshed.append(regions)
            return refresh(*regions, **options)

        self.chart.refresh = counted

    def on_chart_cursor_moved(self, event):
        self.moves.append(event.x)


def text_of(pilot):
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


def test_a_chart_is_drawn_and_survives_every_size(drive):
    async def script(pilot):
        assert "loss 1.21" in text_of(pilot)
        assert "⣧" in text_of(pilot)
        for size in ((20, 6), (12, 5), (11, 4), (10, 3), (5, 2), (1, 1), (160, 50)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert text_of(pilot).lstrip("╭─ ").startswith("loss"[: size[0]])

    drive(Shown(charts.interrupted()), script, (60, 14))


def test_ascii_is_chosen_by_the_session(drive):
    async def script(pilot):
        assert text_of(pilot).isascii()
        assert "loss 1.21" in text_of(pilot)

    drive(Shown(charts.interrupted(), plain=True), script, (60, 14))


def test_nothing_is_refreshed_while_nothing_changed(drive):
    view = charts.interrupted()

    async def script(pilot):
        pilot.app.chart.show(view, 1)
        await pilot.pause()
        pilot.app.refreshed.clear()
        pilot.app.chart.show(view, 1)
        await pilot.pause()
        assert pilot.app.refreshed == []

    drive(Shown(view), script, (60, 14))


def test_a_growing_curve_refreshes_its_tip(drive):
    values = charts.falling(1_990)
    xs, ys = array("d", range(1_980)), array("d", values[:1_980])
    series = Series(xs, ys)

    async def script(pilot):
        chart = pilot.app.chart
        pilot.app.refreshed.clear()
        for y in values[1_980:]:
            xs.append(float(len(xs)))
            ys.append(y)
            series.refresh()
            chart.show(ChartView("loss", (Curve("a", series),), latest="1.2"), len(series))
            await pilot.pause()
        cells = [sum(region.area for region in regions) for regions in pilot.app.refreshed]
        assert all(pilot.app.refreshed)
        assert max(cells, default=0) <= 6
        assert text_of(pilot) == drawn_anew(pilot)

    drive(Shown(ChartView("loss", (Curve("a", series),), latest="1.2")), script, (60, 14))


def drawn_anew(pilot):
    rows = box(pilot.app.chart.view, *pilot.app.size).picture.rows
    return "\n".join("".join(run.text for run in row) for row in rows)


def test_the_cursor_begins_at_the_newest_point_and_reads_the_curve(drive):
    async def script(pilot):
        await pilot.press("right")
        assert "step 99  99" in text_of(pilot)
        await pilot.press("home")
        assert "step 0  0" in text_of(pilot)
        await pilot.press("l", "l", "h", "shift+right")
        assert 10 < pilot.app.chart.cursor < 30
        await pilot.press("end", "left")
        assert 95 < pilot.app.chart.cursor < 99
        await pilot.press("escape")
        assert pilot.app.chart.cursor is None
        assert pilot.app.moves[0] == 99
        assert pilot.app.moves[-1] is None

    drive(Shown(charts.view_of([float(x) for x in range(100)])), script, (60, 14))


def test_escape_without_a_cursor_is_left_to_the_screen(drive):
    async def script(pilot):
        assert not pilot.app.chart.check_action("clear_cursor", ())
        await pilot.press("left")
        assert pilot.app.chart.check_action("clear_cursor", ())

    drive(Shown(charts.interrupted()), script, (60, 14))


def test_a_click_puts_the_cursor_there(drive):
    async def script(pilot):
        await pilot.click(Chart, offset=(31, 6))
        layout = pilot.app.chart._drawn().layout
        assert layout.column(pilot.app.chart.cursor) == 31 - 1 - layout.gutter
        await pilot.click(Chart, offset=(1, 6))
        assert len(pilot.app.moves) == 1

    drive(Shown(charts.interrupted()), script, (60, 14))


def test_a_cursor_set_from_outside_is_shown_but_not_announced(drive):
    async def script(pilot):
        pilot.app.chart.cursor = 500.0
        await pilot.pause()
        assert "step 500" in text_of(pilot)
        assert pilot.app.moves == []

    drive(Shown(charts.interrupted()), script, (60, 14))


@pytest.mark.parametrize("ys", [[], [math.nan] * 5, [math.inf] * 5])
def test_keys_do_no_harm_without_values(drive, ys):
    async def script(pilot):
        await pilot.press("left", "home", "end", "shift+left", "escape")
        await pilot.click(Chart, offset=(10, 6))

    drive(Shown(charts.view_of(ys)), script, (60, 14))


def test_colours_follow_the_theme_and_the_focus(drive):
    async def script(pilot):
        def colours():
            return {str(segment.style.color) for segment in pilot.app.chart.render_line(3)._segments}

        before = colours()
        pilot.app.theme = "dracula"
        await pilot.pause()
        themed = colours()
        pilot.app.set_focus(None)
        await pilot.pause()
        assert before != themed
        assert colours() != themed

    drive(Shown(charts.interrupted()), script, (60, 14))


def test_a_title_is_no_markup(drive):
    async def script(pilot):
        assert "[red]loss[/]" in text_of(pilot)

    drive(Shown(charts.view_of([1, 2], title="[red]loss[/]")), script, (60, 14))

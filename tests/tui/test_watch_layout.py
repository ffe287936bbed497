"""Which panes are shown at which size, and where keys lead."""

from __future__ import annotations

from dataclasses import replace

from stoker_tui.models.watch_layout import GRID, TABLES, Layout


def test_a_large_terminal_shows_all_panes():
    assert Layout(120, 40).shown == {*GRID, *TABLES}


def test_a_small_one_shows_a_chart_a_table_and_the_last_happening():
    small = Layout(80, 24)
    assert small.shown == {"loss", "ranks"}
    assert small.has_last


def test_the_smallest_shows_a_chart():
    tiny = Layout(60, 15)
    assert tiny.shown == {"loss"}
    assert not tiny.has_last


def test_a_zoomed_pane_has_all_the_room_at_every_size():
    for size in ((80, 24), (120, 40), (60, 10)):
        assert Layout(*size, zoomed="plan").shown == {"plan"}


def test_charts_come_round_in_both_directions():
    layout = Layout(80, 24)
    seen = [layout.chart]
    for _ in GRID:
        layout = layout.next_chart(1)
        seen.append(layout.chart)
    assert seen == [*GRID, GRID[0]]
    assert Layout(80, 24).next_chart(-1).chart == GRID[-1]


def test_the_next_chart_is_zoomed_in_place_of_the_one_before():
    layout = Layout(120, 40, zoomed="loss").next_chart(1)
    assert layout.shown == {"learning_rate"}


def test_tab_reaches_every_table_where_one_has_room():
    layout, pane, seen = Layout(80, 24), "loss", []
    for _ in TABLES:
        pane = layout.next_pane(pane, 1)
        layout = layout.in_front(pane)
        seen.append(pane)
        assert pane in layout.shown
    assert seen == [*TABLES]
    assert layout.next_pane(pane, 1) == "loss"


def test_tab_goes_through_all_panes_where_all_are_shown():
    layout = Layout(120, 40)
    assert layout.next_pane("loss", 1) == "learning_rate"
    assert layout.next_pane("loss", -1) == "cost"
    assert layout.next_pane(None, 1) == "loss"


def test_a_choice_survives_another_size():
    assert replace(Layout(80, 24).in_front("plan"), cells=120, lines=40).table == "plan"


MANY = (*GRID, "mfu", "wait_seconds")


def test_more_charts_than_have_room_are_seen_by_pages():
    first = Layout(120, 40, charts=MANY)
    assert first.shown == {*GRID, *TABLES}
    assert first.place == "1/8"
    second = first.next_chart(-1).next_chart(-1)
    assert second.shown == {"mfu", "wait_seconds", *TABLES}
    assert second.place == "7/8"
    assert second.next_pane("wait_seconds", 1) == TABLES[0]


def test_a_place_is_told_where_not_all_charts_are_seen():
    assert Layout(120, 40).place == ""
    assert Layout(80, 24).next_chart(1).place == "2/6"
    assert Layout(120, 40, zoomed="loss").place == "1/6"


def test_a_chart_that_another_run_has_not_is_given_up():
    layout = Layout(120, 40, charts=MANY, chart="mfu", zoomed="mfu")
    assert layout.with_charts(MANY) == layout
    other = layout.with_charts(GRID)
    assert (other.chart, other.zoomed) == (GRID[0], None)
    assert Layout(zoomed="cost").with_charts(GRID).zoomed == "cost"

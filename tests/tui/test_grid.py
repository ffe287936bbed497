"""The table that all screens use: what it draws, where its cursor goes, what it says."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text
from textual.app import App

from stoker_tui.models.styled import Piece
from stoker_tui.widgets.columns import Column, fit, fitted
from stoker_tui.widgets.grid import Grid

COLUMNS = (
    Column("name", "name", 8, share=1, most=20),
    Column("loss", "loss", 6, right=True, priority=1),
    Column("model", "model", 10, share=1, priority=2),
)


class Table(App[None]):
    def __init__(self, **options):
        super().__init__()
        self.grid = Grid(COLUMNS, **options)
        self.told = []

    def compose(self):
        yield self.grid

    def on_grid_highlighted(self, message):
        self.told.append(("highlighted", message.key))

    def on_grid_selected(self, message):
        self.told.append(("selected", message.key))

    def on_grid_marked(self, message):
        self.told.append(("marked", message.keys))

    def on_grid_header_selected(self, message):
        self.told.append(("header", message.key))


def cells_of(key):
    return key, Text(f"{len(key) / 3:.3f}", style="success"), f"model of {key}"


def lines_of(app):
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def use(script, *, size=(60, 8), rows=(), cells=cells_of, **options):
    """Run a coroutine function with the table and its pilot."""

    async def run():
        app = Table(**options)
        async with app.run_test(size=size) as pilot:
            app.grid.show(rows, cells)
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(run())


def test_numbers_stand_at_the_right_and_the_cursor_has_a_glyph():
    async def script(app, pilot):
        assert lines_of(app)[:3] == [
            "  name                   loss model",
            "▸ ab                    0.667 model of ab",
            "  abc                   1.000 model of abc",
        ]

    use(script, rows=["ab", "abc"])


def test_the_least_important_columns_go_first_where_it_is_narrow():
    assert [index for index, _ in fit(COLUMNS, 30, 1)] == [0, 1, 2]
    assert [index for index, _ in fit(COLUMNS, 20, 1)] == [0, 1]
    assert [index for index, _ in fit(COLUMNS, 10, 1)] == [0]
    assert [index for index, _ in fit(COLUMNS, 3, 1)] == [0]


@given(width=st.integers(0, 300), gap=st.integers(1, 3))
def test_columns_that_fit_take_no_more_than_the_width(width, gap):
    widths = dict(fit(COLUMNS, width, gap))
    assert widths[0] <= 20
    if len(widths) > 1:
        assert sum(widths.values()) + gap * (len(widths) - 1) <= width


@given(st.text(max_size=30), st.integers(1, 20), st.booleans())
def test_any_text_takes_exactly_its_cells_on_one_line(text, width, right):
    plain = fitted(text, width, right=right).plain
    assert cell_len(plain) == width
    assert plain.isprintable()


def test_square_brackets_and_control_characters_are_only_text():
    assert fitted("[red]a\x1b[31m\n", 14).plain == "[red]a [31m   "


def test_keys_of_every_habit_move_the_cursor():
    async def script(app, pilot):
        places = []
        for key in ("j", "down", "k", "pagedown", "end", "up", "home", "pageup", "k"):
            await pilot.press(key)
            places.append(int(app.grid.cursor_key))
        assert places == [1, 2, 1, 7, 99, 98, 0, 0, 0]

    use(script, rows=[str(number) for number in range(100)])


def test_a_scrollbar_hides_no_part_of_a_column():
    async def script(app, pilot):
        assert lines_of(app)[0] == "  name       loss model"
        app.grid.show([str(number) for number in range(100)], cells_of)
        await pilot.pause()
        assert lines_of(app)[0] == "  name                 loss"

    use(script, size=(28, 8), rows=["ab"])


def test_the_cursor_stays_on_the_screen():
    async def script(app, pilot):
        await pilot.press("end")
        await pilot.pause()
        assert lines_of(app)[-1].startswith("▸ 99")
        await pilot.press("home")
        await pilot.pause()
        assert lines_of(app)[1].startswith("▸ 0")
        await pilot.resize_terminal(60, 4)
        await pilot.press("j", "j", "j")
        await pilot.pause()
        assert lines_of(app)[-1].startswith("▸ 3")

    use(script, rows=[str(number) for number in range(100)])


def test_the_cursor_follows_its_row_when_rows_change_places():
    async def script(app, pilot):
        await pilot.press("j")
        app.grid.show(["c", "d", "a", "b"], cells_of)
        assert app.grid.cursor_key == "b"
        app.grid.show(["c", "d"], cells_of)
        assert app.grid.cursor_key == "d"
        app.grid.show([], cells_of)
        assert app.grid.cursor_key is None
        await pilot.press("j", "enter", "end", "pagedown")

    use(script, rows=["a", "b"])


def test_marks_are_glyphs_and_outlast_a_filter():
    async def script(app, pilot):
        await pilot.press("j", "space", "k", "space")
        await pilot.pause()
        assert [line[:4].rstrip() for line in lines_of(app)[1:4]] == ["▸* a", " * b", "   c"]
        assert app.grid.marked == ("b", "a")
        app.grid.show(["a", "c"], cells_of)
        await pilot.press("space")
        app.grid.show(["a", "b", "c"], cells_of)
        await pilot.pause()
        assert [line[:4].rstrip() for line in lines_of(app)[1:4]] == ["▸  a", " * b", "   c"]
        marks = [keys for kind, keys in app.told if kind == "marked"]
        assert marks == [("b",), ("b", "a"), ("b",)]

    use(script, rows=["a", "b", "c"], can_mark=True)


def test_space_marks_nothing_where_rows_cannot_be_marked():
    async def script(app, pilot):
        await pilot.press("space")
        assert app.grid.marked == ()

    use(script, rows=["a"])


def test_it_says_where_the_cursor_is_and_what_is_opened():
    async def script(app, pilot):
        app.told.clear()
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert app.told == [("highlighted", "b"), ("selected", "b")]

    use(script, rows=["a", "b"])


def test_the_mouse_does_what_keys_do():
    async def script(app, pilot):
        app.told.clear()
        await pilot.click(Grid, offset=(4, 2))
        await pilot.click(Grid, offset=(4, 2))
        await pilot.click(Grid, offset=(25, 0))
        await pilot.click(Grid, offset=(4, 7))
        await pilot.pause()
        assert app.told == [("highlighted", "b"), ("selected", "b"), ("header", "loss")]

    use(script, rows=["a", "b"])


def test_the_wheel_scrolls():
    async def script(app, pilot):
        app.grid.scroll_down(animate=False, immediate=True)
        await pilot.pause()
        assert lines_of(app)[1].startswith("  1")

    use(script, rows=[str(number) for number in range(100)])


@pytest.mark.parametrize(("descending", "label"), [(True, "loss▼"), (False, "loss▲")])
def test_the_column_of_the_order_has_an_arrow(descending, label):
    async def script(app, pilot):
        app.grid.set_sort("loss", descending)
        await pilot.pause()
        assert label in lines_of(app)[0]

    use(script, rows=["a"])


def test_marks_may_be_numbered_and_pieces_are_cells():
    async def script(app, pilot):
        app.grid.mark_glyphs = {"b": "2"}
        app.grid.mark(["a", "b"])
        app.grid.show(["a", "b"], lambda key: (Piece(key, "bad"), "", Piece("[b]", "plain")))
        await pilot.pause()
        assert lines_of(app)[1:3] == [
            "▸* a                           [b]",
            " 2 b                           [b]",
        ]

    use(script, rows=["a", "b"], can_mark=True)


def test_an_empty_table_says_what_to_do():
    async def script(app, pilot):
        assert lines_of(app)[1:3] == ["  Nothing here.", "  Begin."]
        app.grid.show(["a"], cells_of)
        await pilot.pause()
        assert "Nothing" not in "\n".join(lines_of(app))

    use(script, empty="Nothing here.\nBegin.")


def test_only_lines_that_changed_are_drawn_again(monkeypatch):
    async def script(app, pilot):
        drawn = []
        draw = app.grid.render_line
        monkeypatch.setattr(app.grid, "render_line", lambda y: drawn.append(y) or draw(y))
        rows = ["a", "b", "c"]
        app.grid.show(rows, cells_of)
        await pilot.pause()
        assert drawn == []
        app.grid.show(rows, lambda key: ("new", "", "") if key == "b" else cells_of(key))
        await pilot.pause()
        assert drawn == [2]
        drawn.clear()
        await pilot.press("j")
        await pilot.pause()
        assert drawn == [1, 2]

    use(script, rows=["a", "b", "c"])


def test_a_change_of_tone_alone_is_drawn():
    async def script(app, pilot):
        colours = []
        for tone in ("success", "error"):
            app.grid.show(["a", "b"], lambda key, tone=tone: ("x", Text("1", style=tone), ""))
            await pilot.pause()
            strip = app.screen._compositor.render_strips()[2]
            (segment,) = [each for each in strip if each.text.strip() == "1"]
            colours.append(segment.style.color)
        assert colours[0] != colours[1]

    use(script, rows=["a", "b"])


def test_cells_are_asked_for_on_the_screen_only():
    asked = set()

    async def script(app, pilot):
        await pilot.press("end")
        await pilot.pause()
        assert 49_999 in asked
        assert len(asked) < 30

    def cells(key):
        asked.add(int(key))
        return cells_of(key)

    use(script, rows=[str(number) for number in range(50_000)], cells=cells)


@pytest.mark.parametrize("size", [(20, 6), (1, 1), (3, 2), (200, 60)])
def test_any_size_is_drawn(size):
    async def script(app, pilot):
        await pilot.press("j", "end", "space")
        await pilot.pause()
        assert len(lines_of(app)) == size[1]

    use(script, size=size, rows=[str(number) for number in range(100)], can_mark=True)

"""Toned lines: measured in cells, cut, flowed and set in columns."""

from __future__ import annotations

import pytest

from stoker_tui.models.styled import (
    Piece,
    columns,
    cut,
    flow,
    foreign,
    line,
    line_width,
    pad,
    plain,
    shorten,
    width_of,
    wrap,
)


def test_wide_and_combining_characters_take_two_cells_and_none():
    assert width_of("run") == 3
    assert width_of("\u8bad\u7ec3") == 4
    assert width_of("e\u0301") == 1


@pytest.mark.parametrize("cells", range(8))
@pytest.mark.parametrize("text", ["ranks", "\u8bad\u7ec3\u8bad\u7ec3", ""])
def test_a_cut_text_is_never_wider_than_its_cells(text, cells):
    assert width_of(cut(text, cells)) <= max(cells, 0)
    assert width_of(pad(text, cells)) == cells


def test_a_cut_shows_that_something_is_missing():
    assert cut("checkpoint", 6) == "check…"
    assert pad("7", 3, right=True) == "  7"


def test_groups_flow_onto_as_many_lines_as_they_take_unbroken():
    groups = [line("step 5/9"), line(), line("ETA 3 s"), line("$1.20")]
    assert [plain(each) for each in flow(groups, 18)] == ["step 5/9  ETA 3 s", "$1.20"]
    assert flow([], 10) == []


def test_words_are_wrapped_in_one_tone():
    lines = wrap("lower the batch size", 9, "bad")
    assert [plain(each) for each in lines] == ["lower the", "batch", "size"]
    assert {piece.tone for each in lines for piece in each} == {"bad"}


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [[Piece("a"), Piece("1")], [Piece("long"), Piece("22")]]
    assert [plain(each) for each in columns(rows, "<>")] == ["a     1", "long 22"]


def test_a_line_is_cut_across_pieces_at_its_width():
    whole = line("12:00 ", Piece("checkpoint saved", "good"))
    assert shorten(whole, 22) == whole
    assert plain(shorten(whole, 10)) == "12:00 che…"
    assert line_width(shorten(whole, 6)) == 6


def test_text_from_files_stays_on_one_line_and_steers_no_terminal():
    assert foreign("a\nb\x1b[31mc").text == "a b?[31mc"

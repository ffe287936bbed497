"""A window over a log: moving, following, filtering, folding, searching."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.run.log_query import LogQuery
from stoker.run.log_text import Log, LogText
from stoker_tui.models.log_rows import LogFilter
from stoker_tui.models.log_search import Search
from stoker_tui.models.log_view import LogView


def write(folder: Path, text: str | bytes, rank: int = 0) -> None:
    with (folder / f"rank-{rank}.log").open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def open_view(folder: Path, ranks: int = 1) -> LogView:
    logs = [Log(f"r{rank}", folder / f"rank-{rank}.log", rank) for rank in range(ranks)]
    text = LogText(logs, clock=lambda: 5.0)
    text.refresh()
    return LogView(text)


def texts(view: LogView, height: int = 4) -> list[str]:
    return [row.line.text for _, row in view.window(height).rows]


def refresh(view: LogView) -> None:
    view.text.refresh()
    view.changed()


def current(view: LogView) -> str | None:
    row = view.current()
    return row and row.line.text


def count_all(view: LogView) -> None:
    view.index.fit(view.text)
    view.index.work(view.text.frozen(), lambda: False)


@pytest.fixture
def long(tmp_path: Path) -> LogView:
    """20,000 lines in several chunks."""
    write(tmp_path, "".join(f"line {number}\n" for number in range(20_000)))
    view = open_view(tmp_path)
    assert view.text.num_chunks > 1
    return view


def test_a_log_opens_at_its_end_and_follows(tmp_path: Path) -> None:
    write(tmp_path, "a\nb\nc\nd\ne\n")
    view = open_view(tmp_path)
    assert texts(view) == ["b", "c", "d", "e"]
    write(tmp_path, "f\n")
    refresh(view)
    assert texts(view) == ["c", "d", "e", "f"]
    assert current(view) == "f"


def test_moving_up_leaves_the_end_and_moving_down_comes_back_to_it(tmp_path: Path) -> None:
    write(tmp_path, "a\nb\nc\nd\ne\n")
    view = open_view(tmp_path)
    texts(view)
    view.move(-1)
    assert not view.is_following
    write(tmp_path, "f\n")
    refresh(view)
    assert texts(view) == ["b", "c", "d", "e"]
    view.move(2)
    assert view.is_following
    assert texts(view)[-1] == "f"


def test_pages_go_through_chunks_both_ways(long: LogView) -> None:
    seen = texts(long, 50)
    while seen[0] != "line 0":
        before = len(seen)
        long.page(-49)
        window = texts(long, 50)
        seen = window[: window.index(seen[0])] + seen
        assert len(seen) > before
    assert seen == [f"line {number}" for number in range(20_000)]
    long.home()
    long.move(300)
    assert current(long) == "line 300"
    assert texts(long, 10)[-1] == "line 300"


def test_home_and_end_are_at_once_where_the_log_begins_and_ends(long: LogView) -> None:
    long.home()
    assert texts(long, 3) == ["line 0", "line 1", "line 2"]
    assert long.fraction < 0.01
    long.follow(True)
    assert texts(long, 3)[-1] == "line 19999"
    assert long.fraction == 1.0


def test_a_shorter_log_than_the_window_fills_it_from_the_top(tmp_path: Path) -> None:
    write(tmp_path, "a\nb\n")
    view = open_view(tmp_path)
    assert texts(view, 10) == ["a", "b"]
    view.move(-1)
    assert texts(view, 10) == ["a", "b"]


def test_rows_of_several_lines_are_cut_at_the_top_where_the_cursor_is_below(tmp_path: Path) -> None:
    write(tmp_path, "".join(f"{number}\n" for number in range(9)))
    view = open_view(tmp_path)
    window = view.window(5, lambda row: 2)
    assert [row.line.text for _, row in window.rows] == ["6", "7", "8"]
    assert window.skipped == 1
    view.home()
    window = view.window(5, lambda row: 2)
    assert ([row.line.text for _, row in window.rows], window.skipped) == (["0", "1", "2"], 0)


def test_levels_filter_and_the_cursor_stays_near_its_line(tmp_path: Path) -> None:
    write(tmp_path, "DEBUG a\nb\nWARNING c\nd\nERROR e\nf\n")
    view = open_view(tmp_path)
    view.move(-1)
    assert current(view) == "ERROR e"
    view.set_filter(LogFilter("warning"), None)
    assert texts(view) == ["WARNING c", "ERROR e"]
    assert current(view) == "ERROR e"
    view.set_filter(LogFilter("info"), None)
    assert texts(view, 9) == ["b", "WARNING c", "d", "ERROR e", "f"]
    assert current(view) == "ERROR e"


def test_a_rare_level_is_found_through_many_chunks_when_they_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "ERROR first\n" + "nothing to see here\n" * 200_000 + "ERROR last\n")
    view = open_view(tmp_path)
    ticks = iter(range(10**9))
    view._clock = lambda: float(next(ticks))  # no time at all
    view.set_filter(LogFilter("error"), None)
    assert texts(view) == ["ERROR last"]
    assert view.index.fraction < 1.0
    count_all(view)
    assert view.index.fraction == 1.0
    assert texts(view) == ["ERROR first", "ERROR last"]


def test_lines_that_repeat_are_folded_and_unfolded(tmp_path: Path) -> None:
    write(tmp_path, "a\n" + "again\n" * 5 + "b\n")
    view = open_view(tmp_path)
    assert [row.num_lines for _, row in view.window(9).rows] == [1, 5, 1]
    view.move(-1)
    assert view.toggle_fold()
    assert texts(view, 9) == ["a", *["again"] * 5, "b"]
    assert view.toggle_fold()
    assert texts(view, 9) == ["a", "again", "b"]
    view.move(-1)
    assert not view.toggle_fold()


def test_lines_of_several_ranks_that_say_the_same_are_one_row(tmp_path: Path) -> None:
    for rank in range(3):
        write(tmp_path, "same\n", rank)
    view = open_view(tmp_path, 3)
    rows = [row for _, row in view.window(9).rows if row.line.log >= 0]
    assert [row.logs for row in rows] == [(0,), (1,), (2,)]
    for rank in range(3):
        write(tmp_path, "more\n", rank)
    refresh(view)
    last = view.current()
    assert last is not None
    assert (last.line.text, last.num_lines, last.logs) == ("more", 3, (0, 1, 2))


@pytest.mark.parametrize("back", [False, True])
def test_a_search_finds_what_is_next_and_goes_round(long: LogView, back: bool) -> None:
    query = LogQuery("/^line 1[27]00$/")
    long.set_filter(LogFilter(), query)
    long.home()
    found = []
    for _ in range(3):
        position = Search.of(long, query).find(back=back)
        assert position is not None
        long.go(position)
        found.append(current(long))
    there = ["line 1200", "line 1700"]
    assert found == ([there[1], there[0], there[1]] if back else [there[0], there[1], there[0]])
    assert Search.of(long, LogQuery("nowhere")).find(back=back) is None


def test_matches_are_counted_and_numbered(long: LogView) -> None:
    query = LogQuery("line 77")
    long.set_filter(LogFilter(), query)
    count_all(long)
    expected = [number for number in range(20_000) if str(number).startswith("77")]
    assert long.index.num_matches == len(expected)
    long.home()
    assert long.match_number() == 0
    position = Search.of(long, query).find(back=True)
    assert position is not None
    long.go(position)
    assert long.match_number() == len(expected)


def test_only_matches_are_shown_where_that_is_asked_for(long: LogView) -> None:
    query = LogQuery("9999")
    long.set_filter(LogFilter(query=query), query)
    assert texts(long, 9) == ["line 9999", "line 19999"]


def test_the_next_error_is_found(tmp_path: Path) -> None:
    write(tmp_path, "a\nERROR b\n" + "c\n" * 70_000)
    view = open_view(tmp_path)
    position = Search.of(view, None).find(back=True)
    assert position is not None
    view.go(position)
    assert current(view) == "ERROR b"


def test_a_log_that_is_cut_or_removed_while_it_is_shown_is_shown_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, "".join(f"{number}\n" for number in range(30_000)))
    view = open_view(tmp_path)
    view.home()
    view.move(20_000)
    (tmp_path / "rank-0.log").write_text("new\n")
    refresh(view)
    assert texts(view) == ["new"]
    (tmp_path / "rank-0.log").unlink()
    refresh(view)
    assert texts(view) == []
    view.move(-3)
    view.move(3)
    view.home()
    assert view.current() is None


def test_a_line_that_is_finished_later_is_shown_whole(tmp_path: Path) -> None:
    write(tmp_path, "ab")
    view = open_view(tmp_path)
    assert texts(view) == ["ab"]
    write(tmp_path, "c\nd\n")
    refresh(view)
    assert texts(view) == ["abc", "d"]


MOVES = st.sampled_from(
    ["up", "down", "page_up", "page_down", "home", "end", "level", "fold", "refresh"]
)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.binary(max_size=40), MOVES), max_size=25),
    st.integers(1, 12),
    st.integers(1, 3),
)
def test_no_bytes_and_no_keys_lead_anywhere_but_to_lines(tmp_path_factory, steps, height, ranks) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("logs")
    view = open_view(folder, ranks)
    do = {
        "up": lambda: view.move(-1),
        "down": lambda: view.move(1),
        "page_up": lambda: view.page(-height),
        "page_down": lambda: view.page(height),
        "home": view.home,
        "end": lambda: view.follow(True),
        "level": lambda: view.set_filter(LogFilter("error" if view.filter.is_open else None), None),
        "fold": view.toggle_fold,
        "refresh": lambda: refresh(view),
    }
    for number, (portion, move) in enumerate(steps):
        write(folder, portion, number % ranks)
        do[move]()
        window = view.window(height)
        assert len(window.rows) <= height
        assert all(row.line.text.isprintable() for _, row in window.rows)
        if window.rows:
            assert view.cursor in [position for position, _ in window.rows]

"""Logs of several ranks as one text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.run.log_clock import LogClock
from stoker.run.log_order import REMARK
from stoker.run.log_remarks import Happenings, Remark
from stoker.run.log_text import CHUNK_BYTES, Log, LogText, arrivals_path


def write(folder: Path, rank: int, text: str) -> None:
    with (folder / f"rank-{rank}.log").open("a") as file:
        file.write(text)


def noted(folder: Path, t: float, **sizes: int) -> None:
    sample = {"t": t, "kind": "sizes", "bytes": {rank.removeprefix("r"): n for rank, n in sizes.items()}}
    with arrivals_path(folder).open("a") as file:
        file.write(json.dumps(sample) + "\n")


def open_text(folder: Path, num_ranks: int) -> LogText:
    logs = [Log(f"r{rank}", folder / f"rank-{rank}.log", rank) for rank in range(num_ranks)]
    text = LogText(logs, arrivals_path(folder), clock=lambda: 1000.0)
    text.refresh()
    return text


def shown(text: LogText) -> list[str]:
    lines = [line for chunk in range(text.num_chunks) for line in text.lines(chunk)]
    return [
        line.text if line.log == REMARK else f"{text.logs[line.log].name} {line.text}" for line in lines
    ]


def test_lines_stand_in_the_order_in_which_they_were_seen_to_arrive(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\nb\n")
    write(tmp_path, 1, "A\nB\n")
    noted(tmp_path, 10.0, r1=2)
    noted(tmp_path, 11.0, r0=2)
    noted(tmp_path, 12.0, r0=4, r1=4)
    text = open_text(tmp_path, 2)
    assert shown(text) == ["r1 A", "r0 a", "r0 b", "r1 B"]
    assert [line.t for line in text.lines(0)] == [10.0, 11.0, 12.0, 12.0]
    assert "order of arrival" in text.order_words


def test_a_line_that_was_noted_half_written_stands_where_it_began(tmp_path: Path) -> None:
    write(tmp_path, 0, "long line\nend\n")
    write(tmp_path, 1, "A\n")
    noted(tmp_path, 10.0, r0=4)
    noted(tmp_path, 11.0, r1=2)
    noted(tmp_path, 12.0, r0=14)
    assert shown(open_text(tmp_path, 2)) == ["r0 long line", "r1 A", "r0 end"]


def test_without_notes_logs_follow_each_other_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\n")
    write(tmp_path, 1, "A\n")
    text = open_text(tmp_path, 2)
    assert shown(text) == ["r0: 2 bytes", "r0 a", "r1: 2 bytes", "r1 A"]
    assert "log after log" in text.order_words
    write(tmp_path, 0, "b\n")
    assert text.refresh()
    assert not text.refresh()
    assert shown(text)[4:] == ["r0 b"]
    assert text.lines(0)[-1].t == 1000.0


def test_what_nobody_has_noted_yet_comes_last_until_its_place_is_known(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\n")
    write(tmp_path, 1, "A\n")
    noted(tmp_path, 10.0, r0=2, r1=2)
    text = open_text(tmp_path, 2)
    write(tmp_path, 0, "b\n")
    write(tmp_path, 1, "B\n")
    text.refresh()
    assert shown(text) == ["r0 a", "r1 A", "r0 b", "r1 B"]
    noted(tmp_path, 11.0, r1=4)
    noted(tmp_path, 12.0, r0=4)
    text.refresh()
    assert shown(text) == ["r0 a", "r1 A", "r1 B", "r0 b"]


def test_remarks_stand_at_their_time(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\nb\n")
    noted(tmp_path, 10.0, r0=2)
    noted(tmp_path, 20.0, r0=4)
    text = LogText([Log("r0", tmp_path / "rank-0.log", 0)], arrivals_path(tmp_path))
    text.refresh([Remark(15.0, "checkpoint", "saved", "info")])
    assert shown(text) == ["r0 a", "saved", "r0 b"]


def test_among_lines_without_times_only_what_happens_from_now_on_has_a_place(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\n")
    text = LogText([Log("r0", tmp_path / "rank-0.log", 0)], arrivals_path(tmp_path))
    text.refresh([Remark(5.0, "note", "before", "info")])
    assert shown(text) == ["r0 a"]
    text.refresh([Remark(15.0, "note", "now", "info")])
    assert shown(text) == ["r0 a", "now"]
    noted(tmp_path, 10.0, r0=2)
    text.refresh()
    assert shown(text) == ["before", "r0 a", "now"]


def test_where_nothing_was_printed_there_is_what_happened(tmp_path: Path) -> None:
    text = LogText([Log("r0", tmp_path / "rank-0.log", 0)], arrivals_path(tmp_path))
    text.refresh([Remark(5.0, "note", "it happened", "info")])
    assert shown(text) == ["it happened"]


def test_a_file_that_was_cut_makes_a_new_text(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\nb\n")
    text = open_text(tmp_path, 1)
    (tmp_path / "rank-0.log").write_text("c\n")
    assert text.refresh()
    assert text.generation == 1
    assert shown(text) == ["r0 c"]
    (tmp_path / "rank-0.log").unlink()
    text.refresh()
    assert shown(text) == []


def test_a_frozen_text_stays_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\n")
    text = open_text(tmp_path, 1)
    frozen = text.frozen()
    write(tmp_path, 0, "b\n")
    text.refresh()
    assert shown(frozen) == ["r0 a"]
    assert shown(text) == ["r0 a", "r0 b"]


def test_damaged_notes_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 0, "a\n")
    arrivals_path(tmp_path).write_text(
        '{"kind": "sizes", "t": 1.0}\n{"kind": "sizes", "t": 1, "bytes": {"0": "x"}}\n{to'
    )
    assert shown(open_text(tmp_path, 1)) == ["r0 a"]


def test_only_what_people_need_is_taken_from_the_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    happenings = Happenings(path, 1)
    assert happenings.read() == []
    events = [
        {"t": 1.0, "attempt": 1, "rank": -1, "kind": "state", "state": "preparing"},
        {"t": 2.0, "attempt": 1, "rank": 0, "kind": "step", "step": 1},
        {"t": 3.0, "attempt": 2, "rank": 0, "kind": "note", "message": "of another attempt"},
        {"t": 4.0, "attempt": 1, "rank": 0, "kind": "alert", "message": "hot\x1b"},
        {"t": 5.0, "attempt": 1, "rank": -1, "kind": "state", "state": "failed", "exit_code": 71},
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + '{"t": 6.0, "att')
    assert [(each.t, each.level, each.text) for each in happenings.read()] == [
        (1.0, "info", "preparing"),
        (4.0, "warning", "alert: hot?"),
        (5.0, "error", "failed, exit code 71"),
    ]
    with path.open("a") as file:
        file.write('empt": 1, "kind": "note", "message": "torn"}\nnull\n[1]\n{"kind": "note"}\n')
    assert [each.text for each in happenings.read()] == ["torn"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.text("ab\n", max_size=4)), max_size=30))
def test_every_line_is_there_once_whatever_was_noted_when(tmp_path_factory, writes) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("logs")
    now = [0.0]
    clock = LogClock(folder, 1, lambda: now[0])
    text = open_text(folder, 3)
    for rank, portion in writes:
        write(folder, rank, portion)
        now[0] += 0.6
        clock.tick()
        text.refresh()
    clock.close()
    text.refresh()
    lines = [line for chunk in range(text.num_chunks) for line in text.lines(chunk)]
    for rank in range(3):
        path = folder / f"rank-{rank}.log"
        written = path.read_text().split("\n") if path.exists() else []
        expected = written[:-1] if written and not written[-1] else written
        assert [line.text for line in lines if line.log == rank] == expected


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_lines_on_both_sides_of_a_chunk_are_there_once(tmp_path: Path, num_ranks: int) -> None:
    for rank in range(num_ranks):
        write(tmp_path, rank, "".join(f"line {number} of {rank}\n" for number in range(9_000)))
    text = open_text(tmp_path, num_ranks)
    assert text.num_chunks > 1
    assert text.order.size > CHUNK_BYTES
    lines = [line.text for chunk in range(text.num_chunks) for line in text.lines(chunk)]
    for rank in range(num_ranks):
        own = [line for line in lines if line.endswith(f" of {rank}")]
        assert own == [f"line {number} of {rank}" for number in range(9_000)]

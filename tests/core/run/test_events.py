"""Events: whole lines whoever writes, and readers that survive a crash of the writer."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stoker.run.events import (
    EventTail,
    EventWriter,
    follow,
    latest_by_step,
    read_backwards,
    read_events,
    start_of_attempt,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_an_event_says_when_who_and_what(path: Path) -> None:
    EventWriter(path, attempt=2, rank=1).write("step", step=3, loss=1.5)
    (event,) = read_events(path)
    assert isinstance(event.pop("t"), float)
    assert event == {"v": 1, "attempt": 2, "rank": 1, "kind": "step", "step": 3, "loss": 1.5}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_numbers_that_json_does_not_know_become_null_and_are_named(path: Path) -> None:
    EventWriter(path, 1, 0).write("step", loss=float("nan"), grad_norm=float("inf"), step=1)
    (event,) = read_events(path)
    assert event["loss"] is None
    assert event["grad_norm"] is None
    assert event["non_finite"] == ["loss", "grad_norm"]
    assert "NaN" not in path.read_text()


def test_a_torn_last_line_is_left_out_until_it_is_whole(path: Path) -> None:
    path.write_text('{"kind": "note", "message": "a"}\n{"kind": "no')
    tail = EventTail(path)
    assert [event["message"] for event in tail.read()] == ["a"]
    with path.open("a") as file:
        file.write('te", "message": "b"}\n')
    assert [event["message"] for event in tail.read()] == ["b"]


def test_another_tail_goes_on_where_one_has_come_to(path: Path) -> None:
    path.write_text('{"kind": "note", "message": "a"}\n{"kind": "no')
    tail = EventTail(path)
    tail.read()
    with path.open("a") as file:
        file.write('te", "message": "b"}\n')
    assert [event["message"] for event in EventTail(path, tail.position).read()] == ["b"]


def test_a_tail_reads_no_more_than_it_is_asked_to(path: Path) -> None:
    path.write_text("".join(f'{{"kind": "note", "message": "{number}"}}\n' for number in range(9)))
    tail, found, reads = EventTail(path), [], 0
    while tail.has_more:
        found += [event["message"] for event in tail.read(50)]
        reads += 1
    assert found == [str(number) for number in range(9)]
    assert reads > 5


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_tail_begins_again_with_a_file_that_is_another(
    path: Path, in_place: bool, length: int
) -> None:
    path.write_text('{"kind": "note", "message": "old"}\n' * 2)
    tail = EventTail(path)
    tail.read()
    if not in_place:
        path.unlink()
    path.write_text('{"kind": "note", "message": "new"}\n' * length)
    assert [event["message"] for event in tail.read()] == ["new"] * length
    assert tail.restarts == 1


def test_lines_that_are_no_events_are_left_out_and_counted(path: Path) -> None:
    bad = [
        b"[" * 100_000,
        b"[1, 2]",
        b'"kind"',
        b'{"kind": 1}',
        b"\xff\x00",
        b'{"kind": "no',
        b'{"a": [1',
        b"2]}",
    ]
    good = b'{"kind": "note", "message": "a"}'
    path.write_bytes(b"\n".join([*bad, good, b"", good, b""]))
    tail = EventTail(path)
    assert [event["message"] for event in tail.read()] == ["a", "a"]
    assert tail.bad_lines == len(bad)


def test_zeros_instead_of_lines_do_not_pile_up_in_memory(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40_000_000)
    with path.open("ab") as file:
        file.write(b'\n{"kind": "note", "message": "a"}\n')
    tail, found = EventTail(path), []
    while tail.has_more:
        found += tail.read(1_000_000)
    assert [event["message"] for event in found] == ["a"]
    assert tail.bad_lines > 0


def test_a_new_attempt_does_not_write_behind_half_a_line(path: Path) -> None:
    path.write_text('{"kind": "step", "ste')
    EventWriter(path, 2, 0).write("resume", step=1)
    assert [event["kind"] for event in read_events(path)] == ["resume"]


def test_no_file_is_no_events(path: Path) -> None:
    assert read_events(path) == []


def test_processes_that_write_at_once_never_mix_their_lines(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stoker.run.events import EventWriter\n"
        "writer = EventWriter(Path(sys.argv[1]), 1, int(sys.argv[2]))\n"
        "for n in range(300): writer.write('note', n=n, message='x' * 500)"
    )
    command = [sys.executable, "-c", program, str(path)]
    writers = [subprocess.Popen([*command, str(rank)]) for rank in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for rank in range(2):
        assert [line["n"] for line in lines if line["rank"] == rank] == list(range(300))


def test_backwards_every_event_comes_once_whatever_the_pieces(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        EventWriter(path, 1 + number // 20, 0).write("note", message="x" * (number * 7 % 150))
    path.write_bytes(path.read_bytes() + b'{"kind": "torn')
    events = read_events(path)
    assert len(events) == 40
    for num_bytes in (1, 10, 100, 1000, 100_000):
        monkeypatch.setattr("stoker.run.events._END_BYTES", num_bytes)
        assert list(read_backwards(path)) == events[::-1]
        last = EventTail(path, start_of_attempt(path, 2)).read()
        assert last[-20:] == events[20:]
        assert last == events[-len(last) :]
        assert EventTail(path, start_of_attempt(path, 1)).read() == events


def test_of_a_long_file_only_the_end_is_read_for_the_last_attempt(path: Path) -> None:
    line = b'{"kind": "note", "attempt": 1, "message": "an earlier one"}\n'
    path.write_bytes(line * 20_000)
    EventWriter(path, 2, 0).write("note", message="new")
    assert len(EventTail(path, start_of_attempt(path, 2)).read()) < 2_000
    assert start_of_attempt(path.with_name("none"), 2) == 0


def test_follow_gives_what_was_written_before_it_was_told_to_stop(path: Path) -> None:
    writer, over = EventWriter(path, 1, 0), threading.Event()
    writer.write("note", message="before")

    def write() -> None:
        writer.write("note", message="meanwhile")
        over.set()

    thread = threading.Timer(0.1, write)
    thread.start()
    messages = [event["message"] for event in follow(path, over.is_set, poll_seconds=0.01)]
    thread.join()
    assert messages == ["before", "meanwhile"]


def test_the_last_attempts_value_of_a_step_counts() -> None:
    events = [
        {"kind": "step", "attempt": 1, "step": 2, "loss": 1.0},
        {"kind": "step", "attempt": 1, "step": 3, "loss": 9.0},
        {"kind": "step", "attempt": 2, "step": 3, "loss": 2.0},
        {"kind": "note", "attempt": 2},
    ]
    assert [(step, event["loss"]) for step, event in latest_by_step(events).items()] == [
        (2, 1.0),
        (3, 2.0),
    ]

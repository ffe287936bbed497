"""How far logs had grown, second by second."""

from __future__ import annotations

from pathlib import Path

from stoker.run.events import read_events
from stoker.run.log_clock import ARRIVALS_NAME, LogClock


def grow(folder: Path, rank: int, text: str) -> None:
    with (folder / f"rank-{rank}.log").open("a") as file:
        file.write(text)


def noted(folder: Path) -> list[dict[str, int]]:
    return [event["bytes"] for event in read_events(folder / ARRIVALS_NAME)]


def test_what_has_grown_is_noted_once_a_second_and_at_the_end(tmp_path: Path) -> None:
    now = [10.0]
    clock = LogClock(tmp_path, 2, lambda: now[0])
    grow(tmp_path, 0, "ab\n")
    clock.tick()
    grow(tmp_path, 0, "c\n")
    grow(tmp_path, 11, "d\n")
    clock.tick()
    assert noted(tmp_path) == [{"0": 3}]
    now[0] += 1.0
    clock.tick()
    now[0] += 1.0
    clock.tick()
    grow(tmp_path, 0, "e\n")
    clock.close()
    assert noted(tmp_path) == [{"0": 3}, {"0": 5, "11": 2}, {"0": 7}]
    assert {event["attempt"] for event in read_events(tmp_path / ARRIVALS_NAME)} == {2}


def test_other_files_are_not_noted_and_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "trackers.log").write_text("x\n")
    LogClock(tmp_path, 1).close()
    LogClock(tmp_path / "gone", 1).close()
    assert noted(tmp_path) == []

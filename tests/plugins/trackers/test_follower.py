"""A tracker that is slow, raises, blocks, or has seen a part of the run before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stoker.run.events import EventWriter
from stoker_plugins.trackers import follower as follower_module
from stoker_plugins.trackers.bookmark import Bookmark
from stoker_plugins.trackers.ending import Ending
from stoker_plugins.trackers.follower import Follower


class Rows:
    """A tracker that keeps what it is given; `at` is called before each row."""

    def __init__(self, at: Callable[[int], object] = lambda step: None, rewinds: bool = False) -> None:
        self.rewinds = rewinds
        self.rows: list[tuple[str, int]] = []
        self.recipes: list[Mapping[str, Any]] = []
        self.rewound: list[int] = []
        self.endings: list[str] = []
        self._at = at

    def load(self) -> None:
        pass

    def open(self, bookmark: Bookmark) -> None:
        bookmark.run_id = "chosen"

    def configure(self, values: Mapping[str, Any]) -> None:
        self.recipes.append(values)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._at(step)
        self.rows += [(name, step) for name in values]

    log_beside = log

    def rewind(self, step: int) -> bool:
        if self.rewinds:
            self.rewound.append(step)
        return self.rewinds

    def close(self, ending: Ending, step: int) -> None:
        self.endings.append(ending.word)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(follower_module, "POLL_SECONDS", 0.01)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "tracker-rows"]


def follow(folder: Path, tracker: Any) -> Follower:
    follower = Follower("rows", tracker, Bookmark.read(folder / "rows.json"))
    follower.start(folder / "events.jsonl", {"a": 1})
    return follower


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def mirrored(folder: Path, tracker: Any) -> Follower:
    follower = follow(folder, tracker)
    follower.ending = Ending(0)
    until(lambda: follower.is_over)
    return follower


def write(folder: Path, attempt: int, start: int, last: int) -> None:
    events = EventWriter(folder / "events.jsonl", attempt, rank=0)
    events.write("state", state="running", step=start, total_steps=9)
    for step in range(start + 1, last + 1):
        events.write("step", step=step, loss=1.0)
    events.write("evaluate", step=last, eval_loss=1.0)
    events.close()


def steps(tracker: Rows, name: str = "train/loss") -> list[int]:
    return [step for each, step in tracker.rows if each == name]


def test_rows_arrive_as_they_are_written(tmp_path: Path) -> None:
    tracker = Rows()
    follower = follow(tmp_path, tracker)
    write(tmp_path, 1, 0, 3)
    until(lambda: steps(tracker, "eval/loss") == [3])
    assert steps(tracker) == [1, 2, 3]
    follower.ending = Ending(75)
    until(lambda: follower.is_over)
    assert (follower.trouble, tracker.endings, tracker.recipes) == ("", ["stopped"], [{"a": 1}])


def test_the_next_attempt_logs_only_what_is_new(tmp_path: Path) -> None:
    write(tmp_path, 1, 0, 5)
    mirrored(tmp_path, Rows())
    write(tmp_path, 2, 3, 7)
    tracker = Rows()
    mirrored(tmp_path, tracker)
    assert steps(tracker) == [6, 7]
    assert steps(tracker, "eval/loss") == [7]
    assert tracker.recipes == []
    assert Bookmark.read(tmp_path / "rows.json").run_id == "chosen"


def test_rows_that_were_not_mirrored_when_an_attempt_ended_are_not_lost_and_not_doubled(
    tmp_path: Path,
) -> None:
    write(tmp_path, 1, 0, 5)
    write(tmp_path, 2, 3, 7)
    tracker = Rows()
    mirrored(tmp_path, tracker)
    assert steps(tracker) == [1, 2, 3, 4, 5, 6, 7]


def test_a_tracker_that_rewinds_has_the_last_value_of_every_step(tmp_path: Path) -> None:
    write(tmp_path, 1, 0, 5)
    mirrored(tmp_path, Rows(rewinds=True))
    write(tmp_path, 2, 3, 7)
    tracker = Rows(rewinds=True)
    mirrored(tmp_path, tracker)
    assert tracker.rewound == [3]
    assert steps(tracker) == [4, 5, 6, 7]


def test_a_tracker_that_raises_is_left_out_and_goes_on_in_the_next_attempt(tmp_path: Path) -> None:
    def at(step: int) -> None:
        if step == 3:
            raise ConnectionError("no route\nto host")

    write(tmp_path, 1, 0, 5)
    tracker = Rows(at)
    follower = mirrored(tmp_path, tracker)
    assert follower.trouble == "ConnectionError: no route"
    assert (steps(tracker), tracker.endings) == ([1, 2], [])
    again = Rows()
    mirrored(tmp_path, again)
    assert steps(again) == [3, 4, 5]


def test_a_tracker_that_blocks_is_noticed_and_gets_nothing_more_if_it_comes_back(tmp_path: Path) -> None:
    release = threading.Event()
    write(tmp_path, 1, 0, 5)
    tracker = Rows(lambda step: step == 3 and release.wait(20))
    follower = follow(tmp_path, tracker)
    until(lambda: follower.seconds_in_call > 0.1)
    follower.leave_out()
    assert follower.is_over
    release.set()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "tracker-rows"])
    assert (steps(tracker), follower.trouble, tracker.endings) == ([1, 2, 3], "", [])


def test_a_bookmark_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        Bookmark.read(tmp_path / "rows.json")

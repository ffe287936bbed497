"""A file as the notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stoker_plugins.spot.metadata import Unanswered
from stoker_plugins.spot.notice_file import NoticeFile


def read(path: Path, content: str, grace_seconds: float | None = None) -> Any:
    path.write_text(content)
    return NoticeFile(path, grace_seconds).look()


def test_it_is_found_within_a_poll_and_a_second(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "leave"
    watch = start(provider="file", notice_file=path, poll_seconds=0.2)
    assert watch.notice() is None
    path.touch()
    assert watch.until(watch.notice) < 1.2
    notice = watch.notice()
    assert (notice.leave, notice.deadline) == (True, None)
    assert notice.reason == f"{path} is there"


def test_it_may_say_why_and_how_long(tmp_path: Path) -> None:
    notice = read(tmp_path / "leave", json.dumps({"reason": "the rack is moved", "seconds_left": 40}))
    assert notice.reason == "the rack is moved"
    assert 39 < notice.seconds_left() <= 40


@pytest.mark.parametrize(("stated", "expected"), [(40, 20), (5, 5), (-3, 0), (None, 20), ("x", 20)])
def test_the_shorter_time_counts(tmp_path: Path, stated: Any, expected: float) -> None:
    notice = read(tmp_path / "leave", json.dumps({"seconds_left": stated}), grace_seconds=20)
    assert notice.seconds_left() == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("content", ["NaN", "[1]", "{}", '{"seconds_left": 1e999}', '{"reason": null}'])
def test_whatever_it_holds_it_is_a_notice(tmp_path: Path, content: str) -> None:
    notice = read(tmp_path / "leave", content)
    assert notice.leave
    assert notice.deadline is None
    assert notice.reason


def test_a_sentence_is_the_reason_without_what_steers_a_terminal(tmp_path: Path) -> None:
    notice = read(tmp_path / "leave", "maintenance\nat \x1b[31mnoon " + "z" * 1000)
    assert notice.reason.startswith("maintenance at \\x1b[31mnoon z")
    assert len(notice.reason) == 200


def test_one_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match=f"{tmp_path} cannot be read: Is a directory"):
        NoticeFile(tmp_path, None).look()

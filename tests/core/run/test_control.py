"""Requests reach a run once, in order, and rubbish in the folder does no harm."""

from __future__ import annotations

import os
import time

from stoker.run import control
from stoker.run.directory import RunDirectory


def test_a_request_is_delivered_once(directory: RunDirectory) -> None:
    inbox = control.Inbox(directory)
    path = control.request(directory, "checkpoint", why="curiosity")
    (request,) = inbox.poll()
    assert (request.kind, request.fields["why"]) == ("checkpoint", "curiosity")
    assert not path.exists()
    assert inbox.poll() == []


def test_requests_come_in_order(directory: RunDirectory) -> None:
    control.request(directory, "checkpoint")
    control.request(directory, "stop")
    assert [each.kind for each in control.Inbox(directory).poll()] == ["checkpoint", "stop"]


def test_a_request_in_the_same_tick_of_the_clock_is_not_missed(directory: RunDirectory) -> None:
    inbox = control.Inbox(directory)
    for _ in range(200):
        control.request(directory, "checkpoint")
        assert len(inbox.poll()) == 1


def test_an_unchanged_folder_is_not_listed_again(directory: RunDirectory) -> None:
    inbox = control.Inbox(directory)
    past = time.time_ns() - 10**9
    os.utime(directory.control_path, ns=(past, past))
    assert inbox.poll() == []
    control.request(directory, "stop")
    # With its old time back, the folder looks as it did.
    os.utime(directory.control_path, ns=(past, past))
    assert inbox.poll() == []
    control.request(directory, "stop")
    assert len(inbox.poll()) == 2


def test_what_is_no_request_is_removed_and_ignored(directory: RunDirectory) -> None:
    for name, text in (("a.json", "{"), ("b.json", '{"kind": "dance", "time": 1}'), ("c.json", "[]")):
        (directory.control_path / name).write_text(text)
    assert control.Inbox(directory).poll() == []
    assert list(directory.control_path.iterdir()) == []


def test_an_onlooker_leaves_requests_where_they_are(directory: RunDirectory) -> None:
    control.request(directory, "stop")
    assert [each.kind for each in control.pending(directory)] == ["stop"]
    assert [each.kind for each in control.pending(directory)] == ["stop"]
    control.clear(directory)
    assert control.pending(directory) == []

"""Runs of very many steps: an overview at once, all of it later, from whichever thread."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from stoker_tui.models.feed import RunFeed

STEPS = 40_000


@pytest.fixture
def long_run(written, long_runs, tmp_path):
    directory = written.write_run(tmp_path, "long", steps=20, total=20)
    long_runs.lengthen(directory, STEPS, resumed_at=STEPS // 2)
    return directory


def open_overview(directory):
    feed = RunFeed(directory, lambda: 0.0)
    while not len(feed.steps):
        assert feed.read(0.001)
    return feed


def test_a_long_run_opens_as_an_overview_of_its_whole_length(long_run):
    feed = open_overview(long_run)
    assert feed.needs_load
    assert feed.overview.startswith("overview: 1 step in 2")
    assert len(feed.steps) < STEPS
    steps = list(feed.steps.axis("step"))
    assert (steps[0], steps[-1], feed.total_steps) == (1, STEPS, STEPS)
    assert max(b - a for a, b in itertools.pairwise(steps)) < 200
    assert feed.steps.attempt == 2


def test_reading_on_replaces_the_overview_by_all_steps(long_run):
    feed = open_overview(long_run)
    overview = feed.steps
    reads = 0
    while feed.read(0.005):
        reads += 1
    assert reads > 5
    assert feed.overview == ""
    assert feed.steps is not overview
    assert list(feed.steps.axis("step")) == list(range(1, STEPS + 1))


def test_a_worker_reads_all_while_new_steps_are_shown(written, long_run):
    feed = open_overview(long_run)
    worker = threading.Thread(target=feed.load)
    worker.start()
    written.append_steps(long_run, STEPS + 1, STEPS + 5, STEPS, attempt=2)
    feed.read(0.05)
    assert feed.step == STEPS + 5
    worker.join()
    while feed.read(0.05):
        pass
    assert list(feed.steps.axis("step")) == list(range(1, STEPS + 6))
    assert feed.problem == ""


def test_a_cancelled_worker_leaves_the_rest_to_reading(long_run):
    feed = open_overview(long_run)
    feed.load(is_cancelled=lambda: True)
    assert feed.needs_load
    while feed.read(0.05):
        pass
    assert len(feed.steps) == STEPS


def test_a_file_that_is_cut_off_while_it_is_read_begins_again(long_run):
    feed = open_overview(long_run)
    lines = long_run.events_path.read_bytes().splitlines(keepends=True)[:50]
    long_run.events_path.write_bytes(b"".join(lines))
    while feed.read(0.05):
        pass
    assert feed.steps.last_step == 49
    assert feed.problem == "events.jsonl was replaced while it was read"


def test_a_read_keeps_to_its_budget(long_run):
    feed = RunFeed(long_run, lambda: 0.0)
    longest, more = 0.0, True
    while more:
        begin = time.thread_time()
        more = feed.read(0.01)
        longest = max(longest, time.thread_time() - begin)
    assert longest < 0.1

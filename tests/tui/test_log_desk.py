"""Which logs of a run are shown."""

from __future__ import annotations

import pytest

from stoker_tui.models import log_words
from stoker_tui.models.log_desk import LogDesk
from stoker_tui.models.log_panes import MOST_PANES


@pytest.fixture
def desk(tmp_path, written):
    """`desk(state, ...)`: of a written run."""

    def make(state="done", **changes):
        made = LogDesk(written.write_run(tmp_path, "a-run", state, steps=60, **changes))
        assert made.scan()
        return made

    return make


def test_a_failed_run_opens_at_the_rank_that_failed_first(desk):
    failed = desk("failed", ranks=3)
    assert failed.chosen == ("r1",)
    assert failed.choices() == ["all", "r1", "r0", "r2"]
    assert log_words.failure(failed).startswith("✗ r1 failed first: CUDA out of memory")
    failed.step_choice(-1)
    assert failed.chosen == ()
    assert failed.twin() == "stoker logs a-run --rank all"


def test_the_attempt_that_is_looked_at_stays_when_another_begins(desk):
    run = desk("preempted", resumed_at=30, ranks=1)
    assert (run.attempts, run.attempt) == ([1, 2], 2)
    run.directory.attempt_path(3).mkdir()
    run.directory.log_path(3, 0).write_text("third\n")
    assert run.scan()
    assert run.attempt == 3
    assert run.step_attempt(-1)
    run.directory.attempt_path(4).mkdir()
    assert not run.scan()
    assert (run.attempts, run.attempt) == ([1, 2, 3, 4], 2)
    assert run.twin() == "stoker logs a-run --attempt 2 --rank 0"
    assert not run.step_attempt(-2)


def test_a_rank_that_fails_later_comes_to_the_front_where_nobody_has_chosen(desk):
    run = desk("running", ranks=2)
    run.directory.update_record(state="failed", error={"rank": 1, "message": "m\x1b"})
    assert run.scan()
    assert run.chosen == ("r1",)
    assert log_words.failure(run) == "✗ r1 failed first: m?"


def test_other_logs_are_there_where_something_was_written(desk):
    run = desk("done", ranks=1)
    (run.directory.attempt_path(1) / "trackers.log").write_text("x\n")
    (run.directory.attempt_path(1) / "rank-0.stack").write_text("x\n")
    run.directory.supervisor_log_path.write_text("")
    run.scan()
    assert [log.name for log in run.logs] == ["r0", "r0 stack", "trackers"]
    run.directory.supervisor_log_path.write_text("no processes\n")
    run.scan()
    assert run.choices() == ["r0", "r0 stack", "trackers", "supervisor"]
    run.choose(("trackers",))
    opened = run.open()
    assert [pane.title for pane in opened.panes] == ["trackers"]


def test_split_shows_the_failing_rank_among_the_first_panes(desk):
    failed = desk("failed", ranks=12)
    failed.directory.update_record(error={"rank": 9, "message": "m"})
    failed.scan()
    failed.choose(())
    failed.is_split = True
    opened = failed.open()
    assert [pane.title for pane in opened.panes] == ["r9", "r0", "r1", "r2"]
    assert len(opened.panes) == MOST_PANES
    assert "4 of 12 logs" in log_words.foot(failed, opened.panes[0], wrap=False, times=False)


@pytest.mark.parametrize("chosen", ["all", "r0", "r700", "r1023"])
def test_a_thousand_ranks_fit_the_line_around_the_chosen_one(desk, chosen):
    run = desk("done", ranks=1)
    for rank in range(1, 1024):
        run.directory.log_path(1, rank).write_text("")
    run.scan()
    run.choose(() if chosen == "all" else (chosen,))
    head = log_words.head(run, 78)
    assert f"[{chosen}]" in head
    assert len(head) <= 78


def test_a_run_that_is_no_run_any_more_says_so(tmp_path, desk):
    run = desk("done", ranks=1)
    run.directory.record_path.write_text("{")
    run.scan()
    assert "cannot be read" in log_words.nothing(run)
    assert "No run yet" in log_words.nothing(None)

"""Events as lines for people and as marks on charts."""

from __future__ import annotations

import pytest

from stoker_tui.models.feed_story import Story
from stoker_tui.models.happenings import happening_of, mark_kind_of, words_of


def step(number, attempt=1):
    return {
        "kind": "step",
        "step": number,
        "attempt": attempt,
        "t": float(number),
        "tokens": number * 10,
    }


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        ({"kind": "state", "state": "running"}, "info", "running"),
        ({"kind": "state", "state": "done"}, "good", "done"),
        ({"kind": "state", "state": "preempted"}, "warning", "preempted"),
        (
            {"kind": "state", "state": "failed", "error": {"rank": 1, "message": "out of memory"}},
            "error",
            "failed on rank 1: out of memory",
        ),
        ({"kind": "state", "state": "failed", "error": {"message": "hung"}}, "error", "failed: hung"),
        ({"kind": "note", "message": "52,002 rows"}, "info", "52,002 rows"),
        ({"kind": "alert", "message": "slow"}, "warning", "alert: slow"),
        ({"kind": "alert", "message": "ended", "exit_code": 1}, "error", "alert: ended"),
        (
            {"kind": "checkpoint", "phase": "failed", "name": "step-1", "message": "disk full"},
            "error",
            "checkpoint step-1 failed: disk full",
        ),
        (
            {"kind": "preemption", "phase": "saved", "step": 40, "seconds": 12.0},
            "warning",
            "preemption: saved at step 40, left after 12 s",
        ),
        (
            {"kind": "preemption", "phase": "left", "step": None, "seconds": 3.0},
            "warning",
            "preemption: left after 3 s without a new checkpoint, nothing is saved",
        ),
        (
            {"kind": "evaluate", "step": 9, "best_step": 9, "eval_loss": 1.5},
            "good",
            "evaluate at step 9: loss 1.5000, the best so far",
        ),
        ({"kind": "later", "message": "\x1b[2Jnew"}, "info", "later: ?[2Jnew"),
        ({"kind": "note", "message": "two\n\tlines"}, "info", "two lines"),
        ({"kind": "note", "message": "x" * 9_000}, "info", "x" * 2_000),
        ({"kind": "evaluate", "step": 9, "eval_loss": "low"}, "info", "evaluate: damaged"),
    ],
)
def test_an_event_becomes_a_line(event, level, text):
    line = happening_of({"t": 5.0, "attempt": 1, "rank": -1, **event})
    assert (line.level, line.text, line.t, line.rank) == (level, text, 5.0, -1)


@pytest.mark.parametrize("kind", ["memory", "peak_memory", "later"])
def test_what_nobody_needs_to_read_is_no_line(kind):
    assert happening_of({"kind": kind, "allocated": 5}) is None
    assert words_of({"kind": "checkpoint", "phase": "started", "name": "a"}) == ""


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"kind": "checkpoint", "phase": "committed"}, "checkpoint"),
        ({"kind": "checkpoint", "phase": "started"}, None),
        ({"kind": "preemption", "phase": "notice"}, "preemption"),
        ({"kind": "preemption", "phase": "notice", "leave": False}, None),
        ({"kind": "preemption", "phase": "saved"}, None),
        ({"kind": "alert"}, "alert"),
        ({"kind": "note"}, None),
    ],
)
def test_events_that_matter_to_curves_become_marks(event, kind):
    assert mark_kind_of(event) == kind


def test_a_mark_written_before_its_step_gets_its_tokens_when_the_step_comes():
    story = Story()
    story.take([step(1), {"kind": "evaluate", "step": 3, "t": 9.0}])
    assert story.marks[0].tokens == 10
    story.take([step(2)])
    story.take([step(3), step(4)])
    assert [(mark.step, mark.tokens) for mark in story.marks] == [(3, 30)]


def test_lines_and_marks_do_not_grow_without_end():
    story = Story()
    story.take([{"kind": "alert", "message": str(number), "step": 10**6} for number in range(30_000)])
    assert len(story.happenings) == 5_000
    assert story.happenings[-1].text == "alert: 29999"
    assert 10_000 <= len(story.marks) <= 20_000
    story.take([step(1)])


def test_evaluations_of_a_superseded_attempt_are_cut_off():
    story = Story()
    story.take([step(number) for number in range(1, 31)])
    story.take([{"kind": "evaluate", "attempt": 1, "step": at, "eval_loss": 1.0} for at in (10, 20, 30)])
    story.take([{"kind": "resume", "attempt": 2, "step": 15, "checkpoint": "step-15"}])
    assert list(story.evaluations.axis("step")) == [10]
    story.take([step(16, attempt=2), {"kind": "evaluate", "attempt": 2, "step": 20, "eval_loss": 2.0}])
    assert list(story.evaluations.column("eval_loss")) == [1.0, 2.0]


def test_an_attempt_that_begins_from_nothing_cuts_all():
    story = Story()
    story.take([step(1), step(2)])
    story.take([{"kind": "state", "state": "running", "attempt": 2, "step": 0, "total_steps": 9}])
    assert (len(story.steps), story.total_steps) == (0, 9)

"""The pace of ranks, and who is named as slow."""

from __future__ import annotations

import pytest

from stoker.run.paces import RanksView


def line(rank, wait, step=10, attempt=1, step_seconds=1.0, **more):
    return {"kind": "rank", "rank": rank, "attempt": attempt, "step": step, "t": 100.0 + step,
            "step_seconds": step_seconds, "wait_seconds": wait, "mfu": None} | more  # fmt: skip


def told(*rounds, ranks=None, host="a"):
    """A view of rounds: the wait of each rank."""
    view = ranks or RanksView(lambda: 150.0)
    for number, waits in enumerate(rounds):
        for rank, wait in enumerate(waits):
            view.take(host, line(rank, wait, step=10 * (number + 1)))
    return view


def test_who_waits_least_while_all_others_wait_is_named_with_the_reason():
    view = told(*[(0.30, 0.0, 0.34, 0.31)] * 4)
    assert view.straggler == 1
    assert view.why == "waits 0 ms a step, the others 0.31 s of 1 s"


def test_of_two_ranks_the_slow_one_is_named():
    assert told(*[(0.5, 0.001)] * 4).straggler == 1


@pytest.mark.parametrize(
    "waits",
    [
        (0.0, 0.01, 0.012, 0.009),  # little is waited at all
        (0.2, 0.25, 0.3, 0.28),  # all wait for a while
        (0.0, 0.0, 0.4, 0.4),  # two are slow
        (0.0, None, 0.4, 0.4),  # not measured everywhere
        (0.0,),
    ],
)
def test_nobody_is_named_without_a_clear_difference(waits):
    view = told(*[waits] * 5)
    assert (view.straggler, view.why) == (None, "")


def test_nobody_is_named_before_it_has_lasted():
    slow = (0.3, 0.0, 0.3)
    view = told(slow, slow, slow)
    assert view.straggler is None
    assert told(slow, ranks=view).straggler == 1
    assert told((0.0, 0.3, 0.3), ranks=view).straggler is None


def test_a_later_attempt_begins_with_nothing_and_an_earlier_one_is_over():
    view = told(*[(0.3, 0.0)] * 4)
    view.take("a", line(0, 0.1, attempt=2))
    assert (len(view), view.straggler) == (1, None)
    view.take("a", line(1, 0.1, attempt=1))
    assert len(view) == 1


def test_a_rank_says_its_pace_and_how_long_ago():
    view = RanksView(lambda: 150.0)
    view.take("a", line(3, 0.25, step=20, mfu=0.4, gpu_index=2))
    pace = view.pace(3)
    assert (pace.host, pace.step, pace.mfu, pace.age) == ("a", 20, 0.4, 30.0)
    assert view.paces == [pace]


def test_a_clock_that_is_ahead_of_ours_does_not_make_the_past_the_future():
    view = RanksView(lambda: 0.0)
    view.take("a", line(0, 0.1))
    assert view.pace(0).age == 0.0


def test_gpus_belong_to_the_ranks_that_say_so_else_to_ranks_in_their_order():
    view = RanksView(lambda: 0.0)
    view.take("a", line(0, 0.1, gpu_index=5))
    view.take("a", line(1, 0.1, gpu_index=None))
    view.take("b", line(2, 0.1))
    view.take("b", line(3, 0.1))
    assert view.gpu_ranks() == {("a", 5): 0, ("b", 0): 2, ("b", 1): 3}

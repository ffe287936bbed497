"""What people see: one line for what matters, nothing that could steer their terminal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from stoker.run.lines import clean, describe, format_bytes, format_seconds, format_usd
from stoker.run.progress import JsonView, LiveView, PlainView, make_view


class Clock:
    """A clock that a test turns by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def view(out: io.StringIO, clock: Clock) -> PlainView:
    return PlainView(out, clock)


def step(number: int, **fields: Any) -> dict[str, Any]:
    event = {"kind": "step", "t": 0.0, "step": number, "total_steps": 30, "loss": 2.5}
    return event | {"learning_rate": 1e-4, "tokens_per_second": 1234.0, "step_seconds": 2.0} | fields


def progress(done: int, t: float, phase: str = "tokenising") -> dict[str, Any]:
    return {"kind": "progress", "t": t, "phase": phase, "done": done, "total": 2000, "unit": "rows"}


def test_a_step_says_where_training_is_and_when_it_ends(view: PlainView, out: io.StringIO) -> None:
    view.show([step(10)])
    assert out.getvalue() == "step 10/30  loss 2.5000  lr 1.00e-04  1,234 tokens/s  ETA 40 s\n"


def test_a_step_says_what_is_spent_and_what_it_will_be(view: PlainView, out: io.StringIO) -> None:
    view.show([{"kind": "cost", "usd": 1.234, "projected_usd": 5.6}, step(10)])
    assert out.getvalue().endswith("  ETA 40 s  $1.23 of about $5.60\n")
    view.show([{"kind": "cost", "usd": 2.0, "projected_usd": None}, step(11)])
    view.close()
    assert out.getvalue().endswith("  $2.00\n")


def test_of_the_steps_of_one_log_point_the_last_is_shown(view: PlainView, out: io.StringIO) -> None:
    view.show([step(number) for number in range(1, 11)])
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().startswith("step 10/30")


def test_fast_steps_are_thinned_out_but_the_last_is_never_lost(
    view: PlainView, out: io.StringIO, clock: Clock
) -> None:
    for number in range(1, 31):
        view.show([step(number)])
        clock.now += 0.1
    view.close()
    shown = [line.split()[1] for line in out.getvalue().splitlines()]
    assert len(shown) <= 5
    assert shown[-1] == "30/30"


def test_a_loss_that_is_not_finite_is_said_so(view: PlainView, out: io.StringIO) -> None:
    view.show([step(3, loss=None)])
    assert "loss not finite" in out.getvalue()


def test_long_work_shows_its_rest_every_ten_seconds(
    view: PlainView, out: io.StringIO, clock: Clock
) -> None:
    for second in range(21):
        view.show([progress(second * 50, float(second))])
        clock.now += 1
    assert out.getvalue().splitlines() == [
        "tokenising 0/2,000 rows",
        "tokenising 500/2,000 rows  ETA 30 s",
        "tokenising 1,000/2,000 rows  ETA 20 s",
    ]


def test_events_keep_their_order_among_steps(view: PlainView, out: io.StringIO) -> None:
    evaluation = {"kind": "evaluate", "t": 0.0, "step": 10, "eval_loss": 2.0, "best_step": 10}
    view.show([step(10), evaluation, step(11)])
    kinds = [line.split()[0] for line in out.getvalue().splitlines()]
    assert kinds[:2] == ["step", "evaluate"]
    assert "loss 2.0000, the best so far" in out.getvalue()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"kind": "checkpoint", "phase": "started", "name": "step-00000010"}, None),
        (
            {"kind": "checkpoint", "phase": "committed", "name": "x", "bytes": 12.3e6, "seconds": 1.24},
            "checkpoint x saved: 12.3 MB in 1.2 s",
        ),
        (
            {"kind": "checkpoint", "phase": "failed", "name": "x", "message": "full"},
            "checkpoint x failed: full",
        ),
        ({"kind": "note", "message": "An answer."}, "An answer."),
        ({"kind": "alert", "message": "look"}, "alert: look"),
        ({"kind": "state", "state": "running"}, "running"),
        ({"kind": "state", "state": "done"}, None),
        (
            {"kind": "resume", "checkpoint": "step-00000002", "passed_over": ["x is damaged."]},
            "goes on from step-00000002; passed over: x is damaged.",
        ),
        ({"kind": "a kind of a later version"}, None),
        (
            {"kind": "evaluate", "step": 4, "eval_loss": 2.0, "best_eval_loss": 1.5, "best_step": 2},
            "evaluate at step 4: loss 2.0000, best 1.5000 at step 2",
        ),
    ],
)
def test_every_kind_of_event_has_its_line(event: dict[str, Any], line: str | None) -> None:
    assert describe(event) == line


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert describe({"kind": "note", "message": "a\x1b[2Jb\x07"}) == "a?[2Jb?"
    assert clean("tab\tline\nok") == "tab\tline\nok"


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05"), (-1, "0 s")]
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [(0, "$0.00"), (1234.5, "$1,234.50"), (0.5, "$0.50"), (0.0123, "$0.012"), (0.00042, "$0.00042")],
)
def test_amounts_have_cents_and_small_ones_two_digits_that_count(usd: float, text: str) -> None:
    assert format_usd(usd) == text


def test_sizes_are_short() -> None:
    assert [format_bytes(size) for size in (999, 1500, 98e6, 4.2e9)] == [
        "999 B",
        "1.5 kB",
        "98.0 MB",
        "4.2 GB",
    ]


def test_json_is_the_events_and_nothing_else(out: io.StringIO) -> None:
    view = JsonView(out)
    view.say("hello")
    view.show([step(1), progress(1, 0.0)])
    view.close()
    assert [json.loads(line)["kind"] for line in out.getvalue().splitlines()] == ["step", "progress"]


def test_the_view_fits_the_stream(out: io.StringIO) -> None:
    assert isinstance(make_view(out), PlainView)
    assert isinstance(make_view(out, as_json=True), JsonView)
    out.isatty = lambda: True  # type: ignore[method-assign]
    assert isinstance(make_view(out, plain=True), PlainView)
    live = make_view(out)
    live.close()
    assert isinstance(live, LiveView)


def test_a_terminal_has_one_live_line_under_what_happened(out: io.StringIO) -> None:
    out.isatty = lambda: True  # type: ignore[method-assign]
    view = LiveView(out)
    view.show([progress(100, 1.0), {"kind": "note", "message": "[bold]as it is"}, step(29), step(30)])
    view.close()
    text = out.getvalue()
    assert "[bold]as it is" in text
    assert "step 30/30" in text.rstrip().splitlines()[-1]


def rank_line(rank: int, wait: float, number: int, **fields: Any) -> dict[str, Any]:
    line = {"kind": "rank", "rank": rank, "attempt": 1, "host": "a", "t": float(number), "step": number}
    return line | {"step_seconds": 1.0, "wait_seconds": wait, "mfu": 0.43, "gpu_index": rank} | fields


def gpu_line(index: int, watts: float = 690.0) -> dict[str, Any]:
    sizes = {"memory_used_bytes": 64_400_000_000, "memory_total_bytes": 85_500_000_000}
    line = {"kind": "gpu", "rank": 0, "attempt": 1, "host": "a", "t": 0.0, "index": index}
    return line | sizes | {"utilization_percent": 99, "power_watts": watts, "temperature_celsius": 83}


def rounds(count: int) -> list[dict[str, Any]]:
    """Rank 1 is slow: rank 0 waits for it."""
    return [rank_line(rank, 0.3 - 0.3 * rank, number) for number in range(count) for rank in (0, 1)]


def test_the_rank_that_others_wait_for_is_named_once(view: PlainView, out: io.StringIO) -> None:
    view.show(rounds(2))
    assert "slow" not in out.getvalue()
    view.show(rounds(1))
    view.show(rounds(4))
    view.close()
    slow = [line for line in out.getvalue().splitlines() if "slow" in line]
    assert slow == ["rank 1 on a is slow: it waits 0 ms a step, the others 0.3 s of 1 s"]


def test_ranks_gpus_and_hosts_have_a_line_each_once_a_minute(
    view: PlainView, out: io.StringIO, clock: Clock
) -> None:
    host = {"kind": "host", "rank": 0, "attempt": 1, "host": "a", "t": 0.0, "cpu_percent": 31.0}
    for _ in range(59):
        view.show([*rounds(1), gpu_line(0), gpu_line(1, 402.0), gpu_line(2), host])
        clock.now += 1
    assert out.getvalue().splitlines() == [
        "rank 0 on a  step 1 s  waits 0.3 s  MFU 43%  GPU 0  99 %  64.4 GB of 85.5 GB  690 W  83 C",
        "rank 1 on a  step 1 s  waits 0 s  MFU 43%  GPU 1  99 %  64.4 GB of 85.5 GB  402 W  83 C",
        "GPU 2  99 %  64.4 GB of 85.5 GB  690 W  83 C on a",
        "host a  CPU 31 %",
        "rank 1 on a is slow: it waits 0 ms a step, the others 0.3 s of 1 s",
    ]
    view.close()
    assert out.getvalue().splitlines()[6].endswith("SLOW")


def test_a_live_view_names_the_slow_rank(out: io.StringIO) -> None:
    live = LiveView(out)
    live.show(rounds(4))
    live.close()
    assert "rank 1 on a is slow" in out.getvalue()


def test_the_budget_and_the_gradient_norm_are_in_the_line_of_a_step(
    view: PlainView, out: io.StringIO
) -> None:
    cost = {"kind": "cost", "usd": 1.234, "projected_usd": 5.6, "budget_usd": 25.0}
    view.show([cost, step(10, grad_norm=0.41234)])
    assert "grad 0.412  1,234 tokens/s  ETA 40 s  $1.23 of about $5.60 (cap $25.00)\n" in out.getvalue()

"""`stoker show`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from stoker.cli.show import command
from stoker.errors import UsageError
from stoker.run.arithmetic import DEFINITIONS
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.run.watching import summarise

Invoke = Callable[..., Any]


def fill(directory: RunDirectory) -> None:
    """A little history: a step trained twice, two evaluations, a checkpoint."""
    for attempt, loss in ((1, 9.0), (2, 1.25)):
        events = EventWriter(directory.events_path, attempt, 0)
        events.write("step", step=3, loss=loss, tokens_per_second=1234.0)
        events.close()
    events = EventWriter(directory.events_path, 2, 0)
    for step, loss in ((0, 3.0), (3, 1.5)):
        events.write("evaluate", step=step, eval_loss=loss, best_step=step)
    events.close()
    (directory.checkpoints_path / "step-00000003").mkdir()


def test_a_run_on_one_page(invoke: Invoke, new_run: Any) -> None:
    error = {
        "rank": 1,
        "message": "no\x1b[2J space.",
        "hint": "Make room.",
        "log": "logs/attempt-2/rank-1.log",
    }
    directory = new_run(state="failed", exit_code=73, attempt=2, step=3, total_steps=9, error=error)
    fill(directory)
    output = invoke(command, "fire").output
    assert "3.0000 at step 0, the best" not in output
    for text in (
        "failed (73)",
        "3 of 9",
        "1.2500 at step 3, 1,234 tokens/s",
        "3.0000 at step 0",
        "1.5000 at step 3, the best",
        "step-00000003",
        "no?[2J space. Make room.",
        "runs/fire/logs/attempt-2/rank-1.log",
    ):
        assert text in output


def test_a_run_as_json(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="done", result="checkpoints/step-00000003")
    fill(directory)
    shown = json.loads(invoke(command, "fire", "--json").output)
    assert shown["run"]["result"] == "checkpoints/step-00000003"
    assert (shown["last_step"]["loss"], shown["last_step"]["attempt"]) == (1.25, 2)
    assert [each["step"] for each in shown["evaluations"]] == [0, 3]
    assert shown["checkpoints"] == ["step-00000003"]


def test_an_unknown_run_is_a_usage_error(invoke: Invoke, new_run: Any) -> None:
    new_run("fire")
    assert isinstance(invoke(command, "fier").exception, UsageError)


def write_plan(directory: RunDirectory, **grade: Any) -> None:
    """A plan as far as `show` reads it."""
    span = {"low": 1.0, "mid": 2.0, "high": 3.0}
    plan = {
        "v": 1,
        "per_gpu": {"allocated": 8e9, "total": 9.5e9, "context": 0.5e9},
        "host_bytes": 0,
        "tokens": span,
        "steps": 9,
        "step_seconds": span,
        "tokens_per_second": span,
        "cost_usd": None,
    }
    directory.plan_path.write_text(json.dumps({**plan, **({"grade": grade} if grade else {})}))


def test_a_plan_is_shown_before_anything_was_measured(invoke: Invoke, new_run: Any) -> None:
    write_plan(new_run())
    lines = [line[13:] for line in invoke(command, "fire").output.splitlines()]
    assert "memory of a rank: 9.0 GB predicted" in lines
    assert "step: 2 s predicted" in lines
    assert "tokens/s: 2 predicted" in lines
    assert not any(line.startswith("cost:") for line in lines)


def test_a_plan_is_shown_against_what_was_measured(invoke: Invoke, new_run: Any) -> None:
    write_plan(
        new_run(),
        attempt=1,
        t=1.0,
        after_counting=True,
        predicted={"step_seconds": 2.0, "reserved_bytes": 9e9, "cost_usd": 4.0},
        measured={"step_seconds": 2.2, "reserved_bytes": 9.9e9, "cost_usd": 5.0},
        ratio={"step_seconds": 1.1, "reserved_bytes": 1.1, "cost_usd": 1.25},
    )
    output = invoke(command, "fire").output
    assert "plan         memory of a rank: 9.0 GB predicted, 9.9 GB measured (x 1.10)" in output
    assert "             step: 2 s predicted, 2.2 s measured (x 1.10)" in output
    assert "             cost: $4.00 predicted, $5.00 measured (x 1.25)" in output
    assert "the data were not counted at the launch" in output
    shown = json.loads(invoke(command, "fire", "--json").output)["plan"]
    assert shown["measured"]["cost_usd"] == 5.0
    assert (shown["problem"], shown["after_counting"]) == (None, True)


def test_a_run_without_a_plan_says_why_or_nothing(invoke: Invoke, new_run: Any) -> None:
    directory = new_run()
    assert "plan" not in invoke(command, "fire").output
    assert json.loads(invoke(command, "fire", "--json").output)["plan"] is None
    directory.plan_path.write_text('{"v": 1, "problem": "no model \'x\' is known."}')
    assert "plan         none: no model 'x' is known." in invoke(command, "fire").output


def test_the_latest_telemetry_is_shown_and_the_slow_rank_named(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="running")
    directory.telemetry_path.mkdir()
    head = {"v": 1, "t": 1.0, "attempt": 1}
    lines = [
        head
        | {
            "kind": "rank",
            "rank": rank,
            "step": n,
            "step_seconds": 1.0,
            "wait_seconds": 0.4 - 0.4 * rank,
        }
        for n in range(4)
        for rank in (0, 1)
    ]
    lines.append(
        head | {"kind": "gpu", "rank": 0, "index": 1, "name": "H100", "utilization_percent": 98}
    )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory.telemetry_path / "node-1.jsonl").write_text(text)
    output = invoke(command, "fire").output
    assert "telemetry    rank 0 on node-1  step 1 s  waits 0.4 s\n" in output
    assert "rank 1 on node-1  step 1 s  waits 0 s  GPU 1  98 %  SLOW\n" in output
    found = json.loads(invoke(command, "fire", "--json").output)["telemetry"]
    assert found["straggler"] == 1
    assert [gpu["rank"] for gpu in found["gpus"]] == [1]


def test_speed_is_shown_and_said_again_at_the_end_of_a_run(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="done", exit_code=0, attempt=2, step=4, total_steps=4)
    for attempt, first in ((1, 1), (2, 3)):
        events = EventWriter(directory.events_path, attempt, 0)
        peak = {"peak_flops_per_second": 1e12, "peak_source": "data sheet", "device": "H100"}
        counts = {"model_flops_per_token": 1e9 * attempt, "hardware_flops_per_token": 1.5e9 * attempt}
        events.write("work", **counts, **peak)
        for step in (first, first + 1):
            tokens = {"tokens": 100 * step, "supervised_tokens": 40 * step}
            events.write("step", step=step, step_seconds=1.0, tokens_per_second=100.0, **tokens)
        events.close()
    expected = [
        "100 tokens/s without padding, 40 of them supervised",
        "step 1 s p50, 1 s p95, over 1 steps",
        "MFU 20.0%, HFU 30.0% of the 1.0 TFLOP/s in the data sheet",
        *DEFINITIONS,
    ]
    shown = invoke(command, "fire").output
    said = "\n".join(summarise(directory, directory.read_record()))
    for line in expected:
        assert line in shown
        assert line in said
    found = json.loads(invoke(command, "fire", "--json").output)["throughput"]
    assert (found["attempt"], found["arithmetic"]["hfu"]) == (2, 0.3)

"""Run directories as trainers leave them, written without training: every state, any number of steps.

Also used by benchmarks/tui.py. Curves are made of formulas, times begin at `EPOCH`, so that what
screens show of them is the same on every machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stoker.run.directory import RunDirectory
from stoker.run.host import boot_id
from stoker.run.lease import Lease
from stoker.run.record import RunRecord

EPOCH = 1_795_500_000.0
"""When a written run was launched, in Unix seconds: 2026-11-24 06:00:00 UTC."""
STEP_SECONDS = 3.75
HOST = "gpu-01"
EXIT_CODES = {"done": 0, "failed": 1, "stopped": 75, "preempted": 75, "nan": 71}

RECIPE = """\
# A written run.
[run]
name = "{series}"

[model]
path = "qwen3-8b"

[data]
train = [{{ path = "rows.jsonl", format = "alpaca" }}]
sequence_length = 4096

[train]
steps = {total}
batch_size = 64
micro_batch_size = 2
learning_rate = {learning_rate}

[launch]
gpus_per_node = {ranks}

[plugins.fsdp]
[plugins.telemetry]
[plugins.cost]
usd_per_gpu_hour = 3.99
"""

ERROR = {
    "rank": 1,
    "exit_code": 1,
    "message": "CUDA out of memory: rank 1 needs 4.1 GB more",
    "hint": "Lower train.micro_batch_size.",
    "log": "logs/attempt-1/rank-1.log",
    "tail": ["  File loop.py, line 80", "torch.OutOfMemoryError: CUDA out of memory"],
    "step": None,
}


def write_run(
    folder: Path,
    name: str,
    state: str = "done",
    *,
    steps: int = 400,
    total: int = 400,
    ranks: int = 8,
    gpus: bool = True,
    resumed_at: int | None = None,
    slow_rank: int | None = None,
    age_seconds: float = 0.0,
    host: str = HOST,
    learning_rate: float = 1e-5,
) -> RunDirectory:
    """A run that has done `steps` of `total`.

    `state`: one of run.json's, or `nan` for a run that ended in a loss that was not finite, at its last
    step. With `resumed_at` a first attempt was preempted there, and had saved ten steps before.
    `age_seconds` puts it all into the past.
    """
    directory = RunDirectory(folder / name)
    for path in (directory.control_path, directory.checkpoints_path, directory.telemetry_path):
        path.mkdir(parents=True)
    begin = EPOCH - age_seconds
    attempt = 1 if resumed_at is None else 2
    text = RECIPE.format(series=name, total=total, ranks=ranks, learning_rate=learning_rate)
    directory.recipe_path.write_text(text)
    events = list(_events(begin, state, steps, total, ranks, resumed_at))
    _write_lines(directory.events_path, events)
    if gpus:
        _write_lines(
            directory.telemetry_path / f"{host}.jsonl",
            _telemetry(begin, steps, ranks, slow_rank, attempt),
        )
    _write_logs(directory, ranks, attempt, steps, state)
    _write_arrivals(directory, begin, ranks, attempt, steps)
    _write_lines(directory.ledger_path, _ledger(begin, steps, ranks, attempt))
    _write_record(directory, state, begin, events[-1]["t"], steps, total, ranks, attempt, host)
    return directory


def append_steps(directory: RunDirectory, first: int, last: int, total: int, attempt: int = 1) -> None:
    """More steps of a run that is at work, as one log point."""
    lines = (_step(EPOCH, step, total, attempt) for step in range(first, last + 1))
    with directory.events_path.open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


@contextmanager
def at_work(directory: RunDirectory) -> Iterator[None]:
    """Hold the lease, as the supervisor of an active run does, on this machine."""
    from stoker.run.host import host_name

    directory.update_record(host=host_name(), boot_id=boot_id())
    lease = Lease.take(directory.lease_path)
    try:
        yield
    finally:
        lease.release()


def _events(
    begin: float, state: str, steps: int, total: int, ranks: int, resumed_at: int | None
) -> Iterator[dict[str, Any]]:
    yield _event(begin, 1, -1, "state", state="preparing")
    if state == "preparing":
        return
    yield _event(begin + 10, 1, 0, "note", message="training data: 52,002 rows, 6,300,000 tokens")
    yield _event(begin + 20, 1, 0, "state", state="running", total_steps=total, step=0)
    if resumed_at is None:
        yield from _steps(begin, 1, steps, total, ranks, 1)
    else:
        saved = max(1, resumed_at - 10)
        yield from _steps(begin, 1, resumed_at, total, ranks, 1)
        t = begin + resumed_at * STEP_SECONDS + 21
        yield _event(t, 1, 0, "preemption", phase="received", provider="aws", message="leaves in 120 s",
                     leave=t + 120, received=t)  # fmt: skip
        yield _checkpoint(t + 1, 1, "committed", saved)
        yield _event(t + 2, 1, -1, "state", state="preempted", exit_code=75, error=None)
        yield _event(t + 60, 2, -1, "state", state="preparing")
        name = f"step-{saved:08}"
        yield _event(t + 70, 2, 0, "resume", step=saved, checkpoint=name, passed_over=[])
        yield _event(t + 71, 2, 0, "state", state="running", total_steps=total, step=saved)
        yield from _steps(begin + 120, saved + 1, steps, total, ranks, 2)
    attempt = 1 if resumed_at is None else 2
    end = begin + 200 + steps * STEP_SECONDS
    if state == "nan":
        row = _step(begin, steps + 1, total, attempt) | {"loss": None, "non_finite": ["loss"]}
        yield row
        yield _event(end, attempt, 0, "alert", message=f"loss was not finite at step {steps + 1}",
                     step=steps + 1, exit_code=71)  # fmt: skip
    if state in EXIT_CODES:
        written = "failed" if state == "nan" else state
        error = _error(state, steps)
        yield _event(end, attempt, -1, "state", state=written, exit_code=EXIT_CODES[state], error=error)


def _steps(
    begin: float, first: int, last: int, total: int, ranks: int, attempt: int
) -> Iterator[dict[str, Any]]:
    for step in range(first, last + 1):
        row = _step(begin, step, total, attempt)
        yield row
        if step % 100 == 0:
            best = 1.2 + 2.6 * math.exp(-step / 120)
            yield _event(row["t"] + 1, attempt, 0, "evaluate", step=step, best_step=step, eval_loss=best,
                         best_eval_loss=best, rows=512, tokens=60_000, seconds=4.2)  # fmt: skip
            yield _checkpoint(row["t"] + 2, attempt, "started", step)
            yield _checkpoint(row["t"] + 9, attempt, "committed", step)
        if step % 50 == 0:
            yield _cost(row["t"] + 3, step, total, ranks, attempt)


def _step(begin: float, step: int, total: int, attempt: int) -> dict[str, Any]:
    warmth = min(1.0, step / 20) * (0.5 + 0.5 * math.cos(math.pi * step / max(total, 1)))
    wave = math.sin(step * 0.9) * 0.08 + math.sin(step * 0.13) * 0.05
    return _event(
        begin + 20 + step * STEP_SECONDS,
        attempt,
        0,
        "step",
        total_steps=total,
        step=step,
        loss=1.15 + 2.5 * math.exp(-step / 120) + wave,
        learning_rate=1e-5 * warmth,
        grad_norm=0.4 + 2.0 * math.exp(-step / 60) + abs(wave),
        tokens=step * 262_144,
        supervised_tokens=step * 120_000,
        tokens_per_second=70_000 + 1_500 * math.sin(step * 0.2),
        step_seconds=STEP_SECONDS + 0.08 * math.sin(step * 0.2),
        wait_seconds=0.34,
        idle_seconds=2.4,
    )


def _checkpoint(t: float, attempt: int, phase: str, step: int) -> dict[str, Any]:
    done = {"seconds": 7.0, "bytes": 114_800_000_000} if phase == "committed" else {}
    return _event(t, attempt, 0, "checkpoint", phase=phase, name=f"step-{step:08}", step=step, **done)


def _cost(t: float, step: int, total: int, ranks: int, attempt: int) -> dict[str, Any]:
    rate = ranks * 3.99
    usd = step * STEP_SECONDS / 3600 * rate
    return _event(t, attempt, 0, "cost", step=step, usd=usd, seconds=step * STEP_SECONDS, gpus=ranks,
                  usd_per_hour=rate, projected_usd=total * STEP_SECONDS / 3600 * rate,
                  usd_per_million_tokens=0.13, idle_usd=usd * 0.08, redone_usd=0.0, budget_usd=25.0,
                  budget_hours=None)  # fmt: skip


def _telemetry(
    begin: float, steps: int, ranks: int, slow_rank: int | None, attempt: int
) -> Iterator[dict[str, Any]]:
    yield _event(begin + 12, attempt, 0, "gpus", available=True, count=ranks, reason="")
    for step in range(10, steps + 1, 10):
        t = begin + 20 + step * STEP_SECONDS
        yield _event(t, attempt, 0, "host", cpu_percent=31.0, memory_used_bytes=210_000_000_000,
                     memory_total_bytes=2_160_000_000_000, disk_used_bytes=1_800_000_000_000,
                     disk_total_bytes=3_000_000_000_000, disk_read_bytes_per_second=0.0,
                     disk_written_bytes_per_second=180_224.0, network_received_bytes_per_second=912.4,
                     network_sent_bytes_per_second=912.4)  # fmt: skip
        for rank in range(ranks):
            slow = rank == slow_rank
            yield _event(t, attempt, 0, "gpu", index=rank, name="NVIDIA H100 80GB HBM3",
                         utilization_percent=99 if slow else 91 + rank % 7,
                         memory_used_bytes=64_400_000_000 + rank * 100_000_000,
                         memory_total_bytes=85_500_000_000,
                         power_watts=402.0 if slow else 690.0 - rank,
                         temperature_celsius=83 if slow else 58 + rank)  # fmt: skip
            yield _event(t, attempt, rank, "rank", step=step, steps=10, step_seconds=STEP_SECONDS,
                         wait_seconds=0.01 if slow else 0.34 + 0.01 * rank, tokens_per_second=70_000.0,
                         flops_per_token=4.9e10, mfu=0.43, gpu_index=rank)  # fmt: skip


def _write_logs(directory: RunDirectory, ranks: int, attempt: int, steps: int, state: str) -> None:
    for number in range(1, attempt + 1):
        directory.attempt_path(number).mkdir(parents=True)
        for rank in range(ranks):
            lines = [f"rank {rank} of {ranks} on {HOST}", "loading qwen3-8b"]
            lines += ["NCCL WARN NET/IB : Got completion with error 12"] * (rank == 3)
            lines += [f"step {step} done" for step in range(50, steps + 1, 50)] if rank == 0 else []
            if state == "failed" and rank == 1:
                lines += ["Traceback (most recent call last):", *ERROR["tail"]]
            directory.log_path(number, rank).write_text("\n".join(lines) + "\n")


def _write_arrivals(
    directory: RunDirectory, begin: float, ranks: int, attempts: int, steps: int
) -> None:
    """When lines of the logs came: the first, then a step's when it was done, errors at the end."""
    for attempt in range(1, attempts + 1):
        start = begin + 120 * (attempt - 1)
        came: dict[float, dict[str, int]] = {}
        for rank in range(ranks):
            size = 0
            for number, line in enumerate(
                directory.log_path(attempt, rank).read_bytes().splitlines(True)
            ):
                size += len(line)
                step = number if number < 2 or b"NCCL" in line else steps
                if line.startswith(b"step"):
                    step = int(line.split()[1])
                came.setdefault(start + 20 + step * STEP_SECONDS, {})[str(rank)] = size
        notes = ({"v": 1, "t": t, "attempt": attempt, "rank": -1, "kind": "sizes", "bytes": sizes}
                 for t, sizes in sorted(came.items()))  # fmt: skip
        _write_lines(directory.attempt_path(attempt) / "arrivals.jsonl", notes)


def _ledger(begin: float, steps: int, ranks: int, attempts: int) -> Iterator[dict[str, Any]]:
    for attempt in range(1, attempts + 1):
        seconds = steps * STEP_SECONDS / attempts
        for kind, spent in (("begin", 0.0), ("end", seconds)):
            yield {"kind": kind, "attempt": attempt, "t": begin + spent, "uptime": spent, "boot_id": "b",
                   "seconds": spent, "gpus": ranks, "usd_per_gpu_hour": 3.99,
                   "usd": spent / 3600 * ranks * 3.99, "source": "plugins.cost.usd_per_gpu_hour",
                   "budget_usd": 25.0, "budget_hours": None, "v": 1}  # fmt: skip


def _write_record(
    directory: RunDirectory, state: str, begin: float, end: float, steps: int, total: int, ranks: int,
    attempt: int, host: str,
) -> None:  # fmt: skip
    is_over = state in EXIT_CODES
    saved = steps // 100 * 100
    record = RunRecord(
        name=directory.name, id=f"{directory.name}-id", series=directory.name,
        state="failed" if state == "nan" else state,  # type: ignore[arg-type]
        recipe_hash="4f1c" * 16, host=host, pid=1, boot_id="b", attempt=attempt,
        exit_code=EXIT_CODES.get(state), error=_error(state, steps),
        reason="aws takes the machine away" if state == "preempted" else None,
        step=steps if is_over else saved, total_steps=total, nproc=ranks, created=begin,
        started=begin + 5, ended=end if is_over else None,
        result=f"checkpoints/step-{saved:08}" if saved else None,
    )  # fmt: skip
    directory.record_path.write_text(record.to_json())


def _error(state: str, steps: int) -> dict[str, Any] | None:
    if state == "failed":
        return ERROR
    if state == "nan":
        message = f"the loss is not finite at step {steps + 1}"
        odd = {"rank": 0, "exit_code": 71, "message": message, "step": steps + 1}
        return ERROR | odd | {"hint": "Go on with --skip-batches."}
    return None


def _event(t: float, attempt: int, rank: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "t": round(t, 3), "attempt": attempt, "rank": rank, "kind": kind, **fields}


def _write_lines(path: Path, rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)

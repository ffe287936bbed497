"""`stoker show`: everything known about one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from stoker.cli.run_options import print_json, run_argument
from stoker.cli.runs import as_dict, duration, read_effective
from stoker.cli.show_plan import gather_plan, plan_lines
from stoker.run.directory import RunDirectory
from stoker.run.events import Event, latest_by_step, read_events
from stoker.run.ledger import read_ledger
from stoker.run.lines import clean, format_number, format_seconds, format_usd
from stoker.run.record import RunRecord
from stoker.run.skips import describe_skips, read_skips
from stoker.run.telemetry import TelemetryView, read_latest
from stoker.run.throughput import Throughput, throughput_of
from stoker.run.watching import relative

_SHOWN_EVALUATIONS = 10


@click.command(
    help="Show what is known about a run.\n\n"
    "State, losses, speed and what the time went to, cost, checkpoints, errors."
)
@run_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(run: str, run_dir: Path, as_json: bool) -> None:
    """Print a page, or a JSON object."""
    from stoker.run.directory import find_run

    directory = find_run(run, run_dir)
    record = read_effective(directory)
    events, latest = read_events(directory.events_path), read_latest(directory.telemetry_path)
    speed = throughput_of(events)
    facts = gather(directory, events, speed, latest)
    if as_json:
        print_json({"run": as_dict(directory, record), **facts})
        return
    samples = [*_about_speed(speed), *_about_ranks(latest)]
    for name, value in (*_about(directory, record), *_about_training(facts), *samples):
        click.echo(f"{name:<12} {value}")


def gather(
    directory: RunDirectory, events: Sequence[Event], speed: Throughput | None, latest: TelemetryView
) -> dict[str, Any]:
    """The latest step, all evaluations, names of checkpoints, cost, plan against actual, telemetry."""
    steps = list(latest_by_step(events).values())
    folder = directory.checkpoints_path
    checkpoints = sorted(path.name for path in folder.glob("step-*")) if folder.is_dir() else []
    return {
        "last_step": steps[-1] if steps else None,
        "throughput": asdict(speed) if speed else None,
        "evaluations": list(latest_by_step(events, "evaluate").values()),
        "checkpoints": checkpoints,
        "cost": _gather_cost(directory, events),
        "plan": gather_plan(directory),
        "telemetry": _gather_telemetry(latest),
    }


def _gather_telemetry(latest: TelemetryView) -> dict[str, Any] | None:
    """The latest samples of ranks, GPUs and hosts; None where nobody samples."""
    ranks = [asdict(pace) for pace in latest.ranks.paces]
    hosts = [asdict(host) for host in latest.machines.hosts()]
    if not ranks and not hosts:
        return None
    return {
        "ranks": [{key: value for key, value in rank.items() if key != "age"} for rank in ranks],
        "gpus": [asdict(gpu) for gpu in latest.gpus],
        "hosts": hosts,
        "straggler": latest.ranks.straggler,
    }


def _gather_cost(directory: RunDirectory, events: Sequence[Event]) -> dict[str, Any] | None:
    """What the ledger says, and the latest `cost` event; None where nobody keeps accounts."""
    ledger = read_ledger(directory.ledger_path)
    if not ledger.attempts:
        return None
    return {
        "usd": ledger.usd,
        "seconds": ledger.seconds,
        "gpu_seconds": ledger.gpu_seconds,
        "usd_per_hour": ledger.usd_per_hour,
        "attempts": [asdict(entries[-1]) for entries in ledger.attempts],
        "latest": next((event for event in reversed(events) if event["kind"] == "cost"), None),
    }


def _about(directory: RunDirectory, record: RunRecord) -> list[tuple[str, str]]:
    created = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
    lines = [
        ("run", record.name),
        (
            "state",
            record.state if record.exit_code is None else f"{record.state} ({record.exit_code})",
        ),
        ("directory", relative(directory.path)),
        ("created", created),
        ("attempt", f"{record.attempt}, {duration(record)}"),
        ("ranks", f"{record.nproc * record.nodes} on {record.host}"),
        (
            "step",
            f"{record.step} of {record.total_steps}" if record.total_steps else str(record.step),
        ),
    ]
    if skips := read_skips(record):
        lines.append(("left out", describe_skips(skips)))
    if record.result is not None:
        lines.append(("result", relative(directory.path / record.result)))
    if record.error is not None:
        lines.append(("error", clean(f"{record.error['message']} {record.error['hint']}".strip())))
        lines.append(("log", relative(directory.path / record.error["log"])))
    return lines


def _about_training(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    if step := facts["last_step"]:
        speed = format_number(step.get("tokens_per_second"), ",.0f")
        lines.append(
            ("loss", f"{format_number(step.get('loss'))} at step {step['step']}, {speed} tokens/s")
        )
    evaluations = facts["evaluations"]
    best_step = evaluations[-1].get("best_step") if evaluations else None
    lines += [("evaluation", _evaluation(each, best_step)) for each in _shortened(evaluations)]
    if cost := facts["cost"]:
        lines += _about_cost(cost)
    lines += plan_lines(facts["plan"])
    if facts["checkpoints"]:
        lines.append(("checkpoints", ", ".join(facts["checkpoints"])))
    return lines


def _about_speed(speed: Throughput | None) -> list[tuple[str, str]]:
    lines = speed.lines() if speed else []
    return [("" if number else "speed", line) for number, line in enumerate(lines)]


def _about_ranks(latest: TelemetryView) -> list[tuple[str, str]]:
    """The latest sample of each rank with its GPU, each host, and who is slow."""
    slow = latest.straggler_line()
    lines = [*latest.lines(), *([slow] if slow else [])]
    return [("" if number else "telemetry", line) for number, line in enumerate(lines)]


def _about_cost(cost: dict[str, Any]) -> list[tuple[str, str]]:
    attempts, latest = cost["attempts"], cost["latest"] or {}
    count = "1 attempt" if len(attempts) == 1 else f"{len(attempts)} attempts"
    held = f"{format_seconds(cost['seconds'])} in {count}"
    rate = f"{attempts[-1]['gpus']} x {format_usd(attempts[-1]['usd_per_gpu_hour'])} an hour"
    lines = [("cost", f"{format_usd(cost['usd'])} for {held}, {rate}")]
    if (projected := latest.get("projected_usd")) is not None:
        lines.append(("projected", f"{format_usd(projected)} for all steps"))
    if (per_million := latest.get("usd_per_million_tokens")) is not None:
        lines.append(("", f"{format_usd(per_million)} per million tokens"))
    if idle := latest.get("idle_usd"):
        lines.append(("", f"{format_usd(idle)} of it for ranks that waited for others"))
    if redone := latest.get("redone_usd"):
        lines.append(("", f"{format_usd(redone)} of it for steps that were done again"))
    return lines


def _shortened(evaluations: Sequence[Event]) -> list[Event]:
    """The first, to compare with, and the latest."""
    return [*evaluations[:1], *evaluations[1:][-_SHOWN_EVALUATIONS:]]


def _evaluation(event: Event, best_step: int | None) -> str:
    best = ", the best" if event["step"] == best_step else ""
    return f"{format_number(event.get('eval_loss'))} at step {event['step']}{best}"

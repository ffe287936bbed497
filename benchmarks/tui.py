"""What the cockpit costs, in a real pseudo-terminal: time to open, processor, memory, bytes, latency.

    python benchmarks/tui.py [--only NAME ...] [--rounds 5] [--json FILE]

Every number stands beside what is asked. Processor time is that of the cockpit and its children.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tui_terminal import (
    append,
    live_run,
    opened,
    repeated,
    step_event,
    stoker_environment,
    telemetry,
    write_long,
    write_many,
    written,
)

from stoker.run.directory import RunDirectory
from stoker.run.events import latest_by_step, read_events
from stoker_tui.models.amounts import percentile

RANKS = 8
RECIPE = Path(__file__).parents[1] / "recipes" / "smoke.toml"


@dataclass(frozen=True)
class Number:
    """Something measured."""

    what: str
    value: float
    unit: str
    asked: float
    """At most."""

    @property
    def ok(self) -> bool:
        return self.value <= self.asked


def opening(folder: Path, rounds: int) -> Iterator[Number]:
    """100 finished runs: time until they are seen, memory, and what it costs to let it stand."""
    write_many(folder, 100)
    first, all_shown = [], []
    for _ in range(rounds):
        with opened(folder) as cockpit:
            first.append(cockpit.wait_for("[1 Runs]"))
            all_shown.append(cockpit.wait_for("100 runs"))
            cockpit.settle()
            use = cockpit.use(1)
    yield Number("100 finished runs: first paint", median(first), "s", 1.0)
    yield Number("100 finished runs: the runs are seen", median(all_shown), "s", 1.0)
    with opened(folder) as cockpit:
        cockpit.wait_for("100 runs")
        cockpit.settle()
        use = cockpit.use(20)
    yield Number("100 finished runs: resident memory", use.megabytes, "MB", 80)
    yield Number("100 finished runs: idle, processor", use.cpu_percent, "% of a core", 1.0)
    yield Number("100 finished runs: idle, written", use.bytes_per_second / 1e3, "kB/s", 1.0)


def live(folder: Path, rounds: int) -> Iterator[Number]:
    """One live run on Watch, 160x50: six charts, eight ranks, an event and all telemetry a second."""
    run = live_run(folder, "live", steps=100, total=6000, ranks=RANKS)
    samples = run.telemetry_path / f"{written.HOST}.jsonl"

    def second(number: int) -> None:
        append(run.events_path, step_event(101 + number, 6000))
        append(samples, *telemetry(101 + number, RANKS))

    with written.at_work(run), repeated(second, 1.0), opened(folder, "live") as cockpit:
        cockpit.wait_for("103/6000")
        time.sleep(3)
        use = cockpit.use(10.0 * rounds)
    yield Number("live, 6 charts, 8 ranks, 1 Hz: processor", use.cpu_percent, "% of a core", 5)
    yield Number("live, 6 charts, 8 ranks, 1 Hz: written", use.bytes_per_second / 1e3, "kB/s", 40)
    yield Number("live, 6 charts, 8 ranks, 1 Hz: resident memory", use.megabytes, "MB", 120)


def flood(folder: Path, rounds: int) -> Iterator[Number]:
    """1,000 events a second: how long after its writing a step stands on the screen."""
    run = live_run(folder, "flood", steps=100, total=9_999_999, ranks=RANKS)
    written_at: dict[int, float] = {}

    def chunk(number: int) -> None:
        last = 100 + 20 * (number + 1)
        append(run.events_path, *(step_event(step, 9_999_999) for step in range(last - 19, last + 1)))
        written_at[last] = time.monotonic()

    delays = []
    with written.at_work(run), opened(folder, "flood") as cockpit:
        cockpit.wait_for("100/9999999")
        cockpit.settle()
        with repeated(chunk, 0.02):
            end, seen = time.monotonic() + 6.0 * rounds, len(cockpit.pty.output)
            while time.monotonic() < end:
                time.sleep(0.002)
                output = cockpit.pty.output
                for step in [
                    step for step in list(written_at) if f"{step}/9999999".encode() in output[seen:]
                ]:
                    # Steps before this one are shown with it.
                    now = time.monotonic()
                    delays += [now - written_at.pop(each) for each in list(written_at) if each <= step]
                    seen = len(output)
            use = cockpit.use(2)
    yield Number("1,000 events/s: event to screen, p95", percentile(delays, 0.95) * 1e3, "ms", 500)
    yield Number("1,000 events/s: processor", use.cpu_percent, "% of a core", 50)


def long_run(folder: Path, rounds: int) -> Iterator[Number]:
    """A finished run of a million steps."""
    write_long(folder, 1_000_000)
    opens, keys = [], []
    for _ in range(rounds):
        with opened(folder, "long") as cockpit:
            opens.append(cockpit.wait_for_curves())
            keys += [cockpit.key_seconds(key) for key in ("]", "x", "g", "+", "-", "z", "z", "[")]
    yield Number("1 M steps: its charts are seen", median(opens), "s", 2)
    yield Number("1 M steps: a key, p95", percentile(keys, 0.95) * 1e3, "ms", 300)


def many_runs(folder: Path, rounds: int) -> Iterator[Number]:
    """5,000 runs in the folder."""
    write_many(folder, 5000)
    opens, keys = [], []
    for _ in range(rounds):
        with opened(folder) as cockpit:
            opens.append(cockpit.wait_for("5,000 runs"))
            cockpit.settle()
            keys += [cockpit.key_seconds(key) for key in ("down", "j", "k", "j")]
            use = cockpit.use(5)
    yield Number("5,000 runs: listed", median(opens), "s", 1)
    yield Number("5,000 runs: a key, p95", percentile(keys, 0.95) * 1e3, "ms", 300)
    yield Number("5,000 runs: idle, processor", use.cpu_percent, "% of a core", 5)


def training(folder: Path, rounds: int) -> Iterator[Number]:
    """Steps of two ranks on two cores with the cockpit open on them, against the same without."""
    (folder / "recipe.toml").write_text(RECIPE.read_text() + "\n[plugins.telemetry]\n")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds):
        # Which comes first alternates: a machine slows down and speeds up by itself.
        for watched in (False, True) if number % 2 else (True, False):
            seconds[watched].append(_step_seconds(folder, f"run-{number}-{watched}".lower(), watched))
    ratio = median(
        [with_ / without for with_, without in zip(seconds[True], seconds[False], strict=True)]
    )
    yield Number("two ranks on two cores: a step while watched", (ratio - 1) * 100, "% longer", 2)


def _step_seconds(folder: Path, name: str, watched: bool) -> float:
    """Median step of a real run of a minute or less."""
    launch = [sys.executable, "-P", "-m", "stoker", "run", "recipe.toml", "--nproc", "2", "--detach"]
    settings = [f"run.name={name}", "train.steps=60", "train.log_every=5"]
    overrides = [word for each in settings for word in ("--set", each)]
    subprocess.run([*launch, *overrides], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                   env=stoker_environment())  # fmt: skip
    run = RunDirectory(folder / "runs" / name)
    with opened(folder, name) if watched else nullcontext():
        while run.read_record().exit_code is None:
            time.sleep(1)
    steps = latest_by_step(read_events(run.events_path))
    return float(median([event["step_seconds"] for event in steps.values()][10:]))


MEASUREMENTS: dict[str, Callable[[Path, int], Iterator[Number]]] = {
    "opening": opening,
    "live": live,
    "flood": flood,
    "long_run": long_run,
    "many_runs": many_runs,
    "training": training,
}


def _line(number: Number) -> str:
    verdict = "" if number.ok else "  MISSED"
    return f"{number.what:<50} {number.value:>8.2f} {number.unit:<12} asked: {number.asked:g}{verdict}"


def main() -> None:
    """Print a table; write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    options = parser.parse_args()
    # As where it is installed: the first start compiles, later ones do not.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    numbers = []
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            for number in MEASUREMENTS[name](Path(folder), options.rounds):
                numbers.append(number)
                print(_line(number), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in numbers], indent=1) + "\n")


if __name__ == "__main__":
    main()

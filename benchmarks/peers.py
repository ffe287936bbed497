"""stoker beside what one would use instead: PyTorch by hand, Hugging Face's Trainer, TRL, Lightning.

    make peers
    .venv/bin/python benchmarks/peers.py [--rounds 5] [--settings lora-bf16] [--json FILE] [--tiny]

The same model, rows in the same order, batch, optimizer, learning rate and precision for all, each run
in a process of its own. Rounds are interleaved, and who comes first rotates. Every round has other rows
(its number is the seed), so ratios are taken inside a round; the median of the rounds counts. The first
step of a run warms up and is not timed; before all, everyone runs once on a tiny model, untold, so that
nobody pays for reading libraries from the disk. With `--json FILE` every finished run is appended to
that file, and a second call with the same file and sizes goes on where the first was cut off.
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
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONTENDERS = Path(__file__).with_name("contenders")
sys.path.insert(0, str(CONTENDERS))

import comparing  # noqa: E402
import measuring  # noqa: E402
import mistakes  # noqa: E402
import stoker_run  # noqa: E402
from workload import Workload, num_tokens, read_rows  # noqa: E402

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "alpaca_en_demo.json"
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SCRIPTS = {
    "bare": ["bare.py"],
    "bare_packed": ["bare_packed.py"],
    "hf_trainer": ["hf_trainer.py"],
    "trl": ["trl_sft.py"],
    "trl_best": ["trl_sft.py", "--best"],
    "lightning": ["lightning_loop.py"],
}
NAMES = (*SCRIPTS, comparing.OURS)
SETTINGS = ("full-fp32", "full-bf16", "lora-fp32", "lora-bf16")
# Whole models bear less than adapters do.
LEARNING_RATES = {"full": 1e-5, "lora": 2e-4}
HELD_OUT_SETTING = "lora-bf16"
MISTAKEN = ("hf_trainer", "trl", comparing.OURS)
"""Those that have a configuration: elsewhere these are mistakes in Python code of one's own."""
TIMEOUT_SECONDS = 1800.0


@dataclass
class Results:
    """Finished runs, kept in a file if there is one."""

    path: Path | None
    sizes: dict[str, Any]
    """Runs of other sizes in the same file are left alone."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path is not None and self.path.exists():
            rows = [json.loads(line) for line in self.path.read_text().splitlines()]
            self.rows = [row for row in rows if row["sizes"] == self.sizes]

    def find(self, **key: Any) -> dict[str, Any] | None:
        """The finished run with this key, if there is one."""
        return next((row for row in self.rows if key.items() <= row.items()), None)

    def once(self, run: Callable[[], dict[str, Any]], **key: Any) -> dict[str, Any] | None:
        """The finished run with this key, from an earlier call or from now; None where it fails."""
        if (found := self.find(**key)) is not None:
            return found
        try:
            row = {**key, "sizes": self.sizes, **run()}
        except (measuring.ContenderFailed, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{' '.join(map(str, key.values()))}: {error}")
            print(f"  {self.failures[-1]}", file=sys.stderr, flush=True)
            return None
        self.rows.append(row)
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def rounds(self, part: str, setting: str) -> dict[str, dict[int, dict[str, Any]]]:
        """Runs by contender and round."""
        found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for name in NAMES:
            for row in self.rows:
                if (row["part"], row.get("setting"), row["contender"]) == (part, setting, name):
                    found[name][row["round"]] = row
        return found


class Bench:
    """Runs contenders on prepared data."""

    def __init__(self, options: argparse.Namespace, folder: Path, *, tiny: bool) -> None:
        from preparing import prepare  # imports torch

        folder.mkdir()
        self.options = options
        self.folder = folder
        self.prepared = prepare(folder, options.data, options.sequence_length, tiny=tiny)
        self._count = 0

    def workload(self, setting: str, seed: int, steps: int, evaluate_every: int = 0) -> Workload:
        """What the contenders of one round are given, but for a directory of their own."""
        options = self.options
        method, _, precision = setting.partition("-")
        return Workload(
            model=str(self.prepared.model),
            rows=str(self.prepared.write_rows(seed, options.batch_size, steps)),
            held_out=str(self.folder / "held_out.jsonl"),
            adapter=str(self.prepared.adapter) if method == "lora" else None,
            precision=precision,
            steps=steps,
            batch_size=options.batch_size,
            micro_batch_size=options.micro_batch_size,
            sequence_length=options.sequence_length,
            learning_rate=LEARNING_RATES[method],
            seed=seed,
            folder="",
            evaluate_every=evaluate_every,
            data=self.prepared.data,
        )

    def run(self, name: str, workload: Workload) -> dict[str, Any]:
        """One run of one contender."""
        own, command = self._command(name, workload)
        began = time.perf_counter()
        outside, text = measuring.measured(command, Path(own.folder) / "log.txt", TIMEOUT_SECONDS)
        result = stoker_run.result(own) if name == comparing.OURS else measuring.last_line(text)
        rows, size = read_rows(own.rows), own.batch_size
        tokens = [num_tokens(rows[first : first + size]) for first in range(0, len(rows), size)]
        found = measuring.numbers(result, outside, tokens)
        seconds = time.perf_counter() - began
        print(f"  {name}: {found['tokens_per_second']:.0f} tokens/s, {seconds:.0f} s", flush=True)
        return found

    def report(self, name: str, workload: Workload, mistake: str) -> dict[str, Any]:
        """How long a contender takes to report a mistake."""
        wrong = mistakes.MISTAKES[mistake](workload)
        seconds, complaint = mistakes.time_to_report(self._command(name, wrong)[1], TIMEOUT_SECONDS)
        return {"seconds": seconds, "complaint": complaint}

    def _command(self, name: str, workload: Workload) -> tuple[Workload, list[str]]:
        self._count += 1
        folder = self.folder / f"{self._count}-{name}"
        folder.mkdir()
        own = Workload(**{**vars(workload), "folder": str(folder)})
        if name == comparing.OURS:
            return own, stoker_run.command(own)
        script, *arguments = SCRIPTS[name]
        path = own.write(folder / "workload.json")
        return own, [str(PYTHON), str(CONTENDERS / script), str(path), *arguments]


def rotated(names: list[str], number: int) -> list[str]:
    """Another one comes first in each round."""
    start = number % len(names)
    return names[start:] + names[:start]


def warm_up(bench: Bench) -> None:
    """Everyone once, and nothing is kept."""
    print("warming up, on a tiny model", flush=True)
    for name in bench.options.contenders:
        bench.run(name, bench.workload("lora-bf16", 1, 2))


def speed(bench: Bench, results: Results, setting: str) -> Iterator[str]:
    """Rounds of all contenders, then their table."""
    options = bench.options
    for number in range(1, options.rounds + 1):
        print(f"{setting}, round {number}", flush=True)
        workload = bench.workload(setting, number, options.steps)
        for name in rotated(options.contenders, number):
            key = {"part": "speed", "setting": setting, "round": number, "contender": name}
            results.once(lambda name=name, work=workload: bench.run(name, work), **key)  # type: ignore[misc]
    yield f"\n### {setting}\n"
    yield from comparing.table(setting, results.rounds("speed", setting))


def held_out(bench: Bench, results: Results) -> Iterator[str]:
    """One longer run each: seconds of training until the loss of the padded loop's last evaluation."""
    options = bench.options
    workload = bench.workload(HELD_OUT_SETTING, 0, options.held_out_steps, options.evaluate_every)
    print(f"held-out loss, {HELD_OUT_SETTING}", flush=True)
    for name in options.contenders:
        key = {"part": "held_out", "setting": HELD_OUT_SETTING, "round": 0, "contender": name}
        results.once(lambda name=name: bench.run(name, workload), **key)  # type: ignore[misc]
    runs = results.rounds("held_out", HELD_OUT_SETTING)
    yield from comparing.held_out_table(HELD_OUT_SETTING, runs)


def reports(bench: Bench, results: Results) -> Iterator[str]:
    """Seconds until each mistake is reported."""
    workload = bench.workload("lora-fp32", 1, bench.options.steps)
    names = [name for name in bench.options.contenders if name in MISTAKEN]
    yield "\n### Seconds until a mistake in the configuration is reported\n"
    yield f"| mistake | {' | '.join(names)} |"
    yield "|---" * (1 + len(names)) + "|"
    for mistake in mistakes.MISTAKES:
        print(f"mistake: {mistake}", flush=True)
        cells = []
        for name in names:
            key = {"part": "mistake", "mistake": mistake, "contender": name}
            found = results.once(
                lambda name=name, mistake=mistake: bench.report(name, workload, mistake),  # type: ignore[misc]
                **key,
            )
            if found is None:
                cells.append("not within the time limit")
                continue
            late = "" if found["complaint"] else ", trained without a word"
            cells.append(f"{found['seconds']:.2f}{late}")
        yield f"| {mistake} | {' | '.join(cells)} |"


def parsed() -> argparse.Namespace:
    """The options, completed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--contenders", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of a run, the first of them not timed")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--micro-batch-size", type=int, default=8)
    parser.add_argument("--sequence-length", type=int, default=512)
    parser.add_argument("--held-out-steps", type=int, default=6, help="0: no such runs")
    parser.add_argument("--evaluate-every", type=int, default=2)
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        help="a JSON list in Alpaca's columns; default: that file, or demo:alpaca",
    )
    parser.add_argument("--json", type=Path, help="append finished runs to this file, and go on with it")
    parser.add_argument("--tiny", action="store_true", help="a tiny model: does the script work?")
    options = parser.parse_args()
    if options.steps < 2 or options.rounds < 1:
        parser.error("at least two steps, of which the first is not timed, and one round")
    if set(options.contenders) - {comparing.OURS} and not PYTHON.exists():
        parser.error(f"{PYTHON} is not there. Run: make peers")
    return options


def main() -> None:
    """Run everything, print the tables."""
    options = parsed()
    sizes = ("steps", "batch_size", "micro_batch_size", "sequence_length", "held_out_steps", "tiny")
    results = Results(options.json, {name: getattr(options, name) for name in sizes})
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {measuring.THREADS} threads each"
    data = options.data.name if options.data.is_file() else "demo:alpaca"
    lines = [f"\n{machine}; rows of {data}"]
    with tempfile.TemporaryDirectory() as name:
        warm_up(Bench(options, Path(name) / "warm-up", tiny=True))
        bench = Bench(options, Path(name) / "bench", tiny=options.tiny)
        for setting in options.settings:
            lines += speed(bench, results, setting)
        if options.held_out_steps:
            lines += held_out(bench, results)
        lines += reports(bench, results)
    print("\n".join(lines))
    if results.failures:
        sys.exit(f"{len(results.failures)} runs failed: see above")


if __name__ == "__main__":
    main()

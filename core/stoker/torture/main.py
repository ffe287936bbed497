"""`python -m stoker.torture.main`: the process that imports torch once and forks all others."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker.errors import StokerError
from stoker.torture import damage, disk, faults
from stoker.torture.forking import import_everything
from stoker.torture.kills import Storm
from stoker.torture.report import Report, table
from stoker.torture.runs import ENGINES, Setup
from stoker.torture.stopping import Stopped, end_children, stop_on_signals

Mode = Callable[[Setup, int, random.Random], Report]


def kills(setup: Setup, number: int, chance: random.Random) -> Report:
    """SIGKILL."""
    return Storm(setup, chance, "kills").kills(number)


def signals(setup: Setup, number: int, chance: random.Random) -> Report:
    """SIGTERM, SIGINT, SIGHUP, SIGUSR1."""
    return Storm(setup, chance, "signals").signals(number)


def hang(setup: Setup, number: int, chance: random.Random) -> Report:
    """SIGSTOP."""
    patient = replace(setup, settings=(f"launch.hang_seconds={faults.HANG_SECONDS}",))
    return faults.hang(patient, number, chance)


MODES: dict[str, Mode] = {
    "kills": kills,
    "signals": signals,
    "disk-full": disk.disk_full,
    "corrupt": damage.corrupt,
    "nan": faults.nan,
    "hang": hang,
}


def _report(mode: str, setup: Setup, number: int, chance: random.Random) -> Report:
    """What a mode found; what keeps it from going on is a finding too."""
    try:
        return MODES[mode](setup, number, chance)
    except (OSError, RuntimeError, StokerError) as error:
        report = Report(mode, setup.engine, setup.ranks)
        report.blame(str(error))
        return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the modes that were asked for, print what came of them. Returns 1 if anything went wrong.

    Told to stop by a signal, it ends all that it has started and returns 128 + the signal's number.
    """
    options = _parse(arguments)
    stop_on_signals()
    try:
        return _torture(options)
    except Stopped as stopped:
        end_children()
        print(f"{stopped}: stopped. Nothing is left running.", file=sys.stderr)
        return stopped.exit_code


def _parse(arguments: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m stoker.torture.main", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--engine", action="append", choices=list(ENGINES))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    for mode in MODES:
        parser.add_argument(f"--{mode}", type=int, default=0)
    return vars(parser.parse_args(arguments))


def _torture(options: dict[str, Any]) -> int:
    wanted = {mode: options[mode.replace("-", "_")] for mode in MODES}
    # One thread for each rank: sums must not depend on who was waiting.
    os.environ.update(
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="1",
        CUDA_VISIBLE_DEVICES="",
        STOKER_CACHE=str(options["folder"] / "cache"),
        TORCHINDUCTOR_CACHE_DIR=str(options["folder"] / "cache" / "inductor"),
    )
    engines = options["engine"] or ["default"]
    import_everything(engines)
    reports = []
    for engine in engines:
        for mode, number in wanted.items():
            if number:
                setup = Setup(options["folder"] / engine / mode, engine, options["ranks"])
                print(f"{mode}, {engine}: {number} faults ...", file=sys.stderr, flush=True)
                chance = random.Random(f"{options['seed']} {engine} {mode}")
                reports.append(_report(mode, setup, number, chance))
    if options["json"]:
        print(json.dumps({"reports": [report.as_dict() for report in reports]}, indent=1))
    else:
        print(table(reports))
    return int(not all(report.ok for report in reports))


if __name__ == "__main__":
    sys.exit(main())

"""Start-up beside plugins that are installed and that no recipe names: their modules raise on import."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

NUM_INSTALLED = 200
RECIPE = Path(__file__).parents[1] / "recipes" / "smoke.toml"
COMMANDS = (("check", str(RECIPE)), ("plan", str(RECIPE)))


def install(folder: Path, count: int) -> None:
    """Write the metadata of so many distributions with one plugin each."""
    for number in range(count):
        info = folder / f"unnamed_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: unnamed-{number}\nVersion: 1.0\n")
        entry = f"[stoker.plugins]\nunnamed_{number} = unnamed_{number}:Plugin\n"
        (info / "entry_points.txt").write_text(entry)
        (folder / f"unnamed_{number}.py").write_text("raise RuntimeError('imported')\n")


def milliseconds(command: tuple[str, ...], folder: Path | None) -> float:
    """Processor time of `stoker COMMAND` and its children. Raises `CalledProcessError` if it fails."""
    paths = [os.environ.get("PYTHONPATH", ""), str(folder or "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    before = os.times()
    program = str(Path(sys.executable).with_name("stoker"))
    subprocess.run([program, *command], env=environment, check=True, capture_output=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used * 1000


def startup_rows(rounds: int) -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, asked. Rounds alternate; the median of the ratios counts."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder, NUM_INSTALLED)
        for command in COMMANDS:
            pairs = [(milliseconds(command, None), milliseconds(command, folder)) for _ in range(rounds)]
            ratios = [more / less for less, more in pairs]
            less, more = (statistics.median(side) for side in zip(*pairs, strict=True))
            measured = (
                f"{less:.0f} ms, {more:.0f} ms; ratio {statistics.median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f})"
            )
            what = f"processor time of `stoker {command[0]}`, with {NUM_INSTALLED} more plugins"
            rows.append((what, measured, "no growth"))
    return rows

"""Time from the shell to the answer of commands that must feel instant: medians of many runs.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"
TARGET_MILLISECONDS = 250
RECIPE = """
[run]
name = "chat"
[model]
path = "org/model"
[data]
train = [{ path = "chats.jsonl", format = "messages" }]
[train]
steps = 10
learning_rate = 1e-3
"""
CHAT = {
    "messages": [{"role": "user", "content": "x" * 200}, {"role": "assistant", "content": "y" * 600}]
}


def commands(folder: Path) -> list[list[str]]:
    """What is measured; two recipes are written to `folder`, one with a data file of 5 MB."""
    line = json.dumps(CHAT) + "\n"
    (folder / "chats.jsonl").write_text(line * (5_000_000 // len(line)))
    (folder / "5-mb-of-chats.toml").write_text(RECIPE)
    mistakes = RECIPE.replace("steps", "stepz").replace("messages", "mesages").replace("chats", "chat")
    (folder / "four-mistakes.toml").write_text(mistakes.replace("1e-3", '"1e-3"'))
    return [
        ["--help"],
        ["check", str(RECIPES / "smoke.toml")],
        ["check", str(RECIPES / "quickstart.toml")],
        ["check", str(folder / "four-mistakes.toml")],
        ["check", str(folder / "5-mb-of-chats.toml")],
        ["explain", str(RECIPES / "smoke.toml"), "train.warmup"],
        ["plugins"],
        ["new"],
        ["plan", str(RECIPES / "lora_8b.toml"), "--gpu", "h100-80gb"],
        ["plan", str(RECIPES / "lora_8b.toml"), "--gpu", "h100-80gb", "--compare"],
    ]


def milliseconds(arguments: list[str]) -> float:
    """One run of `stoker ARGUMENTS`, which may find mistakes."""
    command = [str(Path(sys.executable).with_name("stoker")), *arguments]
    started = time.perf_counter()
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Alternate between the commands and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        measure(commands(Path(folder)), rounds)


def measure(compared: list[list[str]], rounds: int) -> None:
    """Print the median of each command."""
    times: dict[int, list[float]] = {number: [] for number in range(len(compared))}
    for _ in range(rounds):
        for number, command in enumerate(compared):
            times[number].append(milliseconds(command))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for number, command in enumerate(compared):
        shown = " ".join(Path(part).name if "/" in part else part for part in command)
        low, middle, high = min(times[number]), statistics.median(times[number]), max(times[number])
        print(
            f"stoker {shown:44s} median {middle:5.0f} ms  (min {low:.0f}, max {high:.0f}, "
            f"target {TARGET_MILLISECONDS})"
        )


if __name__ == "__main__":
    main()

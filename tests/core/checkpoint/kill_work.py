"""Kills real processes ahead of chosen operations on files, and lets them go on.

`python kill_work.py FOLDER` reads lines `[first, then]` of JSON: the operation ahead of which a run is
killed, and that ahead of which its resume is killed, or null. It answers each with a line of JSON.
Torch is imported once; every attempt is a fork.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from power_loss import Recording

from stoker.checkpoint.finding import newest_valid, unfinished
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.testing import tiny_fit, write_tiny_model
from stoker.torture.forking import fork, import_everything
from stoker.torture.runs import tensors_digest

SETTINGS = ["train.steps=3", 'checkpoint.every="1 steps"', "checkpoint.keep=1"]
"""Four commits and two deletions."""


def run_of(folder: Path) -> RunDirectory | None:
    """The run that was begun in `folder`; None where it was killed before it appeared."""
    paths = sorted((folder / "runs").glob("tiny-*"))
    return RunDirectory(paths[0]) if paths else None


def attempt(folder: Path, kill_at: int | None) -> int:
    """Start or resume the run in `folder`. Returns the exit code; -9 if it was killed."""

    def work() -> int:
        with Recording(folder / "runs", kill_at) as recording:
            tiny_fit(folder, {}, SETTINGS, directory=run_of(folder))
        (folder / "num_calls").write_text(str(recording.num_calls))
        return 0

    return fork(work).wait(timeout=60)


def found_in(folder: Path) -> dict[str, Any]:
    """What a resume would go on from, and what the run had said to be durable."""
    run = run_of(folder)
    if run is None:
        return {"found": -1, "durable": -1}
    found, _ = newest_valid(run.checkpoints_path, run.read_record().id)
    durable = [
        event["step"]
        for event in read_events(run.events_path)
        if event["kind"] == "checkpoint" and event["phase"] == "committed"
    ]
    return {"found": found.step if found else -1, "durable": max(durable, default=-1)}


def result_of(folder: Path) -> dict[str, Any]:
    """What must be equal at the end."""
    run = run_of(folder)
    assert run is not None
    losses = {e["step"]: e["loss"] for e in read_events(run.events_path) if e["kind"] == "step"}
    checkpoint, passed_over = newest_valid(run.checkpoints_path, run.read_record().id)
    assert checkpoint is not None
    return {
        "losses": [losses[step] for step in sorted(losses)],
        "tensors": tensors_digest(checkpoint.path),
        "newest": checkpoint.path.name,
        "leftovers": len(unfinished(run.checkpoints_path)),
        "passed_over": passed_over,
    }


def story(parent: Path, first: int | None, then: int | None) -> dict[str, Any]:
    """One run: killed, killed again while it resumes, and brought to its end."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    (folder / "runs").mkdir()
    (folder / "model").symlink_to(parent / "model")
    codes, finds = [], []
    for kill_at in [first] + ([then] if then is not None else []):
        codes.append(attempt(folder, kill_at))
        finds.append(found_in(folder))
    if first is not None:
        codes.append(attempt(folder, None))
    calls = int((folder / "num_calls").read_text())
    return {"codes": codes, "finds": finds, "num_calls": calls, "result": result_of(folder)}


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    parent = Path(sys.argv[1])
    write_tiny_model(parent / "model", attention_dropout=0.1)
    import_everything([])
    for line in sys.stdin:
        print(json.dumps(story(parent, *json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()

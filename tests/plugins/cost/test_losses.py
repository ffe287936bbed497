"""What earlier attempts had done and lost, read back from the end of their events."""

from __future__ import annotations

from pathlib import Path

from stoker.run.events import EventWriter
from stoker_plugins.cost.losses import Losses


def test_events_are_read_back_to_the_last_that_says_how_far_the_run_was(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl", 1, 0)
    writer.write("step", step=90)  # not looked at: the event below knows better
    writer.write("cost", step=7, furthest_step=8, idle_usd=1.0, redone_usd=2.0)
    writer.write("step", step=7)
    losses = Losses()
    losses.begin(writer.path)
    assert (losses.furthest_step, losses.idle_usd_before, losses.redone_usd_before) == (8, 1.0, 2.0)
    writer.write("step", step=9)
    losses.begin(writer.path)
    losses.note([{"step": step, "step_seconds": 1.0} for step in (8, 9, 10)])
    assert (losses.furthest_step, losses.redone_seconds) == (9, 2.0)


def test_events_of_older_versions_are_read_to_their_beginning(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl", 1, 0)
    writer.write("step", step=9)
    writer.write("cost", step=9, idle_usd=3.0, redone_usd=4.0)
    writer.write("step", step=5)
    writer.write("cost", step=5, idle_usd=None, redone_usd=5.0)
    losses = Losses()
    losses.begin(writer.path)
    assert (losses.furthest_step, losses.idle_usd_before, losses.redone_usd_before) == (9, 0.0, 5.0)
    losses.begin(tmp_path / "none.jsonl")

"""The most memory that a rank had while it trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stoker.run.events import EventWriter, read_events
from stoker.testing import tiny_fit
from stoker.train import peaks
from stoker.train.peaks import PeakMemory

CPU = torch.device("cpu")
MEGABYTE = 2**20


@pytest.fixture
def reported(tmp_path: Path) -> Any:
    """The events that a peak writes."""

    def report(peak: PeakMemory) -> list[dict[str, Any]]:
        events = EventWriter(tmp_path / "events.jsonl", 1, 0)
        peak.report(SimpleNamespace(events=events))  # type: ignore[arg-type]
        return read_events(tmp_path / "events.jsonl")

    return report


def test_what_was_held_for_a_moment_counts(reported: Any) -> None:
    peak = PeakMemory(CPU)
    peak.begin()
    held = torch.ones(64 * MEGABYTE, dtype=torch.uint8)
    del held
    (event,) = reported(peak)
    assert event["kind"] == "peak_memory"
    assert 60 * MEGABYTE < event["resident"] < 100 * MEGABYTE


def test_what_loading_took_is_forgotten(reported: Any) -> None:
    peak = PeakMemory(CPU)
    held = torch.ones(64 * MEGABYTE, dtype=torch.uint8)
    del held
    peak.begin()
    (event,) = reported(peak)
    assert event["resident"] < 30 * MEGABYTE


def test_a_system_that_does_not_tell_is_no_error(
    reported: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peaks, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(peaks, "_CLEAR", tmp_path / "none" / "either")
    peak = PeakMemory(CPU)
    peak.begin()
    assert reported(peak) == []


def test_every_rank_of_a_run_says_its_peak_once(tmp_path: Path) -> None:
    (event,) = tiny_fit(tmp_path).of_kind("peak_memory")
    assert event["rank"] == 0
    assert event["resident"] >= 0

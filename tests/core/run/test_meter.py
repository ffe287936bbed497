"""An attempt's account: exact by the monotonic clock, and settled where nobody could end it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from stoker.run.attempt import take_over
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.interrupts import Interrupts
from stoker.run.ledger import Ledger, Tariff, append_entry, read_ledger
from stoker.run.meter import MOST_SECONDS_ALONE, Meter, settle
from stoker.run.outcome import write_outcome
from stoker.run.ranks import Topology
from stoker.run.supervisor import supervise_run
from stoker.run.waiting import Patience

DOLLAR_A_SECOND = Tariff(usd_per_gpu_hour=3600.0, source="test", interval_seconds=0.05)


def ledger_of(directory: RunDirectory) -> Ledger:
    return read_ledger(directory.ledger_path)


def kill_after(directory: RunDirectory, seconds: float) -> None:
    """Leave an account as a kill does: begun, with an entry after so many seconds, and open."""
    meter = Meter(directory, DOLLAR_A_SECOND, attempt=1, gpus=2)
    for kind in ("begin", "running"):
        append_entry(directory.ledger_path, meter._entry(kind))
        time.sleep(seconds)


def test_entries_come_at_every_interval_and_the_last_one_is_the_whole(directory: RunDirectory) -> None:
    started = time.monotonic()
    meter = Meter(directory, DOLLAR_A_SECOND, attempt=1, gpus=2).start()
    time.sleep(0.3)
    meter.stop()
    took = time.monotonic() - started
    (entries,) = ledger_of(directory).attempts
    assert [each.kind for each in (entries[0], entries[-1])] == ["begin", "end"]
    assert len(entries) >= 4
    assert [each.seconds for each in entries] == sorted(each.seconds for each in entries)
    assert entries[-1].seconds == pytest.approx(took, abs=0.1)
    assert entries[-1].usd == pytest.approx(entries[-1].seconds * 2)


def test_a_wall_clock_that_jumps_changes_nothing(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter(directory, DOLLAR_A_SECOND, attempt=1, gpus=1).start()
    monkeypatch.setattr("stoker.run.meter.time.time", lambda: 4e9)
    meter.stop()
    assert ledger_of(directory).seconds < 5


def test_a_disk_that_takes_nothing_is_complained_of_once_and_nothing_is_lost(
    directory: RunDirectory,
) -> None:
    said: list[str] = []
    directory.ledger_path.mkdir()
    meter = Meter(directory, DOLLAR_A_SECOND, attempt=1, gpus=1, say=said.append).start()
    time.sleep(0.3)
    directory.ledger_path.rmdir()
    meter.stop()
    assert len(said) == 1
    assert "the ledger is behind" in said[0]
    assert ledger_of(directory).seconds > 0.3


def test_an_attempt_that_was_killed_is_settled_by_what_its_ranks_wrote(directory: RunDirectory) -> None:
    kill_after(directory, 0.1)
    time.sleep(0.2)
    write_outcome(directory, 1, 0, 75)
    last = ledger_of(directory).seconds
    settle(directory)
    entry = ledger_of(directory).latest[-1]
    assert (entry.kind, entry.source) == ("settled", "what its ranks wrote as they ended")
    assert entry.seconds == pytest.approx(last + 0.3, abs=0.1)
    assert not ledger_of(directory).is_open


def test_else_by_their_last_sign_of_life(directory: RunDirectory) -> None:
    kill_after(directory, 0.0)
    beat = directory.attempt_path(1) / "rank-0.beat"
    beat.parent.mkdir(parents=True)
    beat.touch()
    entry = ledger_of(directory).latest[-1]
    os.utime(beat, (entry.t + 7, entry.t + 7))
    settle(directory)
    settled = ledger_of(directory).latest[-1]
    assert settled.seconds == pytest.approx(entry.seconds + 7, abs=0.01)
    assert settled.usd == pytest.approx(settled.seconds * 2)
    assert settled.source == "the last sign of life of its ranks"


def test_a_sign_of_life_of_tomorrow_is_not_believed(directory: RunDirectory) -> None:
    kill_after(directory, 0.0)
    beat = directory.attempt_path(1) / "rank-0.beat"
    beat.parent.mkdir(parents=True)
    beat.touch()
    os.utime(beat, (4e9, 4e9))
    settle(directory)
    assert ledger_of(directory).seconds == pytest.approx(MOST_SECONDS_ALONE, abs=1)


def test_else_by_its_last_entry(directory: RunDirectory) -> None:
    kill_after(directory, 0.1)
    before = ledger_of(directory).seconds
    settle(directory)
    assert ledger_of(directory).seconds == before
    assert ledger_of(directory).latest[-1].source == "its last entry"


def test_what_has_ended_is_not_settled_again(directory: RunDirectory) -> None:
    Meter(directory, DOLLAR_A_SECOND, attempt=1, gpus=1).start().stop()
    content = directory.ledger_path.read_bytes()
    settle(directory)
    assert directory.ledger_path.read_bytes() == content


def test_the_next_attempt_settles_the_one_before(directory: RunDirectory) -> None:
    kill_after(directory, 0.1)
    Meter(directory, DOLLAR_A_SECOND, attempt=2, gpus=1).start().stop()
    first, second = ledger_of(directory).attempts
    assert [each.kind for each in first] == ["begin", "running", "settled"]
    assert [each.kind for each in second] == ["begin", "end"]


Fake = Callable[[str], list[str]]
IMPATIENT = Patience(notice_seconds=0.5, poll_seconds=0.02, restart_seconds=0.1)


def supervise(directory: RunDirectory, command: list[str], tariff: Tariff | None) -> int:
    lease = take_over(directory)
    try:
        return supervise_run(
            directory,
            Topology(nproc=2),
            lease,
            Interrupts(directory),
            command=command,
            patience=IMPATIENT,
            tariff=tariff,
        )
    finally:
        lease.release()


def test_a_supervisor_pays_for_an_attempt_from_its_beginning_to_its_end(
    directory: RunDirectory, fake: Fake
) -> None:
    supervise(directory, fake("done,done"), DOLLAR_A_SECOND)
    record = directory.read_record()
    assert record.started is not None
    assert record.ended is not None
    (entries,) = ledger_of(directory).attempts
    assert entries[-1].kind == "end"
    assert entries[-1].seconds == pytest.approx(record.ended - record.started, abs=0.5)
    assert entries[-1].usd == pytest.approx(2 * entries[-1].seconds)


def test_a_run_without_a_tariff_has_no_ledger(directory: RunDirectory, fake: Fake) -> None:
    supervise(directory, fake("done,done"), None)
    assert not directory.ledger_path.exists()


def test_ranks_that_leave_over_budget_stop_the_run_with_4_and_the_reason(
    directory: RunDirectory, fake: Fake
) -> None:
    assert supervise(directory, fake("spent,spent-too"), DOLLAR_A_SECOND) == 4
    record = directory.read_record()
    assert (record.state, record.exit_code, record.error) == ("stopped", 4, None)
    assert record.reason == "the budget of $5.00 is used up"
    assert read_events(directory.events_path)[-1]["exit_code"] == 4

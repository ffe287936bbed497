"""What a ledger says, whatever a crash has left of its last line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import StorageError
from stoker.run.ledger import Entry, append_entry, read_ledger, usd_of


def entry(kind: str, seconds: float, attempt: int = 1, gpus: int = 8, price: float = 2.5) -> Entry:
    values: dict[str, Any] = {"kind": kind, "attempt": attempt, "seconds": seconds, "gpus": gpus}
    values |= {"usd_per_gpu_hour": price, "usd": usd_of(seconds, gpus, price)}
    return Entry(**values, t=1e9, uptime=100.0 + seconds, boot_id="here", source="test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def fill(path: Path, *entries: Entry) -> None:
    for each in entries:
        append_entry(path, each)


def test_eight_gpus_at_two_dollars_and_a_half_cost_twenty_an_hour() -> None:
    assert usd_of(3600.0, 8, 2.5) == 20.0


def test_where_there_is_no_ledger_nothing_was_spent(path: Path) -> None:
    ledger = read_ledger(path)
    assert (ledger.usd, ledger.seconds, ledger.usd_per_hour, ledger.is_open) == (0, 0, 0, False)


def test_the_latest_entry_of_each_attempt_counts(path: Path) -> None:
    fill(path, entry("begin", 0), entry("running", 1800), entry("end", 3600))
    fill(path, entry("begin", 0, 2, 4, 3.0), entry("running", 900, 2, 4, 3.0))
    ledger = read_ledger(path)
    assert ledger.seconds == 4500.0
    assert ledger.gpu_seconds == 3600.0 * 8 + 900.0 * 4
    assert ledger.usd == pytest.approx(20.0 + 3.0, abs=1e-9)
    assert ledger.usd_per_hour == 12.0
    assert ledger.is_open


def test_the_sum_over_many_attempts_is_exact(path: Path) -> None:
    seconds = [0.1 * number for number in range(1, 200)]
    for number, each in enumerate(seconds, start=1):
        fill(path, entry("end", each, number, 7, 1.37))
    expected = sum(round(each * 10) for each in seconds) / 10 / 3600 * 7 * 1.37
    assert read_ledger(path).usd == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", [1, 40, 150])
def test_a_torn_last_line_costs_what_came_after_the_one_before(path: Path, size: int) -> None:
    fill(path, entry("begin", 0), entry("running", 10))
    whole = path.read_bytes()
    path.write_bytes(whole + json.dumps(asdict(entry("running", 20))).encode()[:size])
    assert read_ledger(path).seconds == 10
    fill(path, entry("end", 30))
    assert read_ledger(path).seconds == 30
    assert len(path.read_bytes().splitlines()) == 4


def test_lines_that_are_no_entries_are_left_out(path: Path) -> None:
    fill(path, entry("begin", 0))
    with path.open("ab") as file:
        file.write(b'\0\0\0\n[1]\n{"kind": "end"}\n\xff\n')
    fill(path, entry("end", 5))
    assert read_ledger(path).seconds == 5


def test_keys_of_a_later_version_are_left_out(path: Path) -> None:
    path.write_text(json.dumps(asdict(entry("end", 5)) | {"later": 1}) + "\n")
    assert read_ledger(path).seconds == 5


def test_a_second_beginning_of_the_same_number_is_another_attempt(path: Path) -> None:
    fill(path, entry("begin", 0), entry("end", 5), entry("begin", 0), entry("end", 7))
    assert read_ledger(path).seconds == 12


def test_entries_are_private_and_what_cannot_be_written_is_said(path: Path) -> None:
    fill(path, entry("begin", 0))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError, match=r"ledger\.jsonl cannot be written"):
        append_entry(path / "ledger.jsonl", entry("begin", 0))


@pytest.mark.parametrize(
    ("usd", "hours", "spent"),
    [(None, None, False), (21, None, False), (20, None, True), (99, 1.0, True), (99, 1.1, False)],
)
def test_a_budget_is_spent_when_all_of_it_is(
    path: Path, usd: float | None, hours: float | None, spent: bool
) -> None:
    fill(path, entry("end", 3600))
    assert read_ledger(path).is_spent(usd, hours) == spent


def test_a_ledger_that_cannot_be_read_is_not_an_empty_one(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StorageError, match=r"ledger\.jsonl cannot be read"):
        read_ledger(path)

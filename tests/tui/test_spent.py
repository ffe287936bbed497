"""What a run has cost."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from stoker.run.ledger import Entry, Ledger, read_ledger
from stoker_tui.models.feed_ledger import LedgerReader
from stoker_tui.models.spent import spent_of

COST = {"usd": 5.0, "seconds": 3600.0, "usd_per_hour": 4.0, "projected_usd": 9.0, "idle_usd": 0.5,
        "redone_usd": 0.25, "budget_usd": 12.0, "budget_hours": None}  # fmt: skip


def entry(**changes):
    values = {"kind": "running", "attempt": 1, "t": 0.0, "uptime": 0.0, "boot_id": "b",
              "seconds": 7200.0, "gpus": 2, "usd_per_gpu_hour": 3.0, "usd": 12.0,
              "source": "table of 2026-11-02"}  # fmt: skip
    return Entry(**(values | changes))


def test_without_a_price_nothing_is_said():
    assert spent_of(None, Ledger()) is None


def test_an_event_alone_says_all_but_the_source():
    spent = spent_of(COST, Ledger())
    assert (spent.usd, spent.usd_per_hour, spent.projected_usd, spent.hours) == (5.0, 4.0, 9.0, 1.0)
    assert (spent.budget_usd, spent.idle_usd, spent.redone_usd, spent.source) == (12.0, 0.5, 0.25, "")


def test_before_the_first_event_the_ledger_counts():
    spent = spent_of(None, Ledger(((entry(),),)))
    assert (spent.usd, spent.usd_per_hour, spent.hours, spent.projected_usd) == (12.0, 6.0, 2.0, None)


def test_the_ledger_goes_on_after_the_last_event_and_knows_a_raised_budget():
    ledger = Ledger(((entry(usd=4.0, seconds=1.0),), (entry(attempt=2, usd=3.0, budget_usd=20.0),)))
    spent = spent_of(COST, ledger)
    assert (spent.usd, spent.budget_usd, spent.source) == (7.0, 20.0, "table of 2026-11-02")


def test_values_that_are_no_numbers_are_not_known():
    spent = spent_of({"usd": None, "projected_usd": "much"}, Ledger())
    assert (spent.usd, spent.projected_usd) == (0.0, None)


def test_a_growing_ledger_says_what_the_whole_file_says(tmp_path):
    path = tmp_path / "ledger.jsonl"
    reader = LedgerReader(path)
    assert reader.read(time.monotonic()) is False
    assert reader.ledger.usd == 0.0
    for attempt, kind, usd in ((1, "begin", 0), (1, "running", 2), (2, "begin", 0), (2, "end", 3.5)):
        line = asdict(entry(kind=kind, attempt=attempt, usd=usd, seconds=usd * 2))
        with path.open("a") as file:
            file.write(json.dumps(line) + '\n{"kind": "running", "usd": "much"}\n{"kind": "run')
            file.write("\n")
        reader.read(time.monotonic())
    assert (reader.ledger.usd, reader.ledger.seconds) == (5.5, 11.0)
    whole = read_ledger(path)
    assert (whole.usd, whole.usd_per_hour) == (reader.ledger.usd, reader.ledger.usd_per_hour)
    path.write_text("")
    path.write_text(json.dumps(line | {"usd": 1.0}) + "\n")
    reader.read(time.monotonic())
    assert reader.ledger.usd == 1.0


def test_a_long_ledger_is_read_in_parts(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with path.open("w") as file:
        for number in range(3_000):
            file.write(
                json.dumps({"kind": "running", "attempt": 1, "usd": number, "seconds": 1.0}) + "\n"
            )
    reader, reads = LedgerReader(path), 1
    while reader.read(time.monotonic()):
        reads += 1
    assert reads > 1
    assert reader.ledger.usd == 2_999

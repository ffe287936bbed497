"""Rows of a list of runs: from whole files, torn ones, and what is left of a run."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest

from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.run.latest import Latest, read_latest
from stoker.run.ledger import Entry, append_entry, read_usd
from stoker.run.overview import list_rows, read_row, row_dict
from stoker.run.settings import read_settings


def write_steps(path: Path, first: int, last: int, attempt: int = 1) -> None:
    events = EventWriter(path, attempt, 0)
    for step in range(first, last + 1):
        events.write("step", step=step, total_steps=9000, loss=5.0 - step / 1e4, tokens_per_second=800.0,
                     step_seconds=0.5)  # fmt: skip
    events.close()


def test_a_row_has_what_the_files_say(directory: RunDirectory) -> None:
    directory.update_record(state="done", attempt=1, step=100, total_steps=100, started=10.0, ended=70.0)
    write_steps(directory.events_path, 1, 100)
    row = read_row(directory)
    assert (row.name, row.state, row.step, row.total_steps, row.ranks) == ("fire", "done", 100, 100, 1)
    assert (row.model, row.method) == ("x", "full")
    assert (row.loss, row.tokens_per_second) == (4.99, 800.0)
    assert row.seconds(now=1e9) == 60.0
    assert row.eta_seconds is None
    assert row.usd is None


def test_a_run_without_events_is_a_row_all_the_same(directory: RunDirectory) -> None:
    row = read_row(directory)
    assert (row.step, row.loss, row.usd, row.eta_seconds) == (0, None, None, None)


def test_an_evaluation_is_found_behind_thousands_of_steps(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventWriter(path, 1, 0)
    events.write("evaluate", step=0, eval_loss=6.0)
    events.write("evaluate", step=1, eval_loss=1.5)
    events.close()
    write_steps(path, 2, 4000)
    assert path.stat().st_size > 500_000
    latest = read_latest(path)
    assert (latest.eval_loss, latest.step, latest.step_seconds) == (1.5, 4000, 0.5)


def test_money_is_found_behind_many_steps(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventWriter(path, 1, 0)
    events.write("cost", step=1, usd=0.5, projected_usd=2.0, usd_per_hour=3.0)
    events.close()
    write_steps(path, 2, 400)
    latest = read_latest(path)
    assert (latest.usd, latest.projected_usd, latest.usd_per_hour) == (0.5, 2.0, 3.0)


def test_a_step_is_found_behind_pages_of_notes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write_steps(path, 1, 7)
    events = EventWriter(path, 1, 0)
    for _ in range(50):
        events.write("note", message="x" * 1000)
    events.close()
    assert read_latest(path).step == 7


def test_torn_lines_and_odd_values_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write_steps(path, 1, 2)
    with path.open("ab") as file:
        file.write(
            b'{"kind": 5}\n[]\n\xff\xfe\n{"kind": "cost", "usd": "much"}\n{"kind": "step", "step": 3'
        )
    latest = read_latest(path)
    assert (latest.step, latest.usd) == (2, None)


def test_a_loss_that_was_not_finite_is_nan_and_json_says_null(directory: RunDirectory) -> None:
    events = EventWriter(directory.events_path, 1, 0)
    events.write("step", step=1, total_steps=3, loss=math.inf)
    events.close()
    row = read_row(directory)
    assert row.loss is not None
    assert math.isnan(row.loss)
    assert (row_dict(row)["loss"], row_dict(row)["non_finite"]) == (None, ["loss"])


def test_before_the_first_step_it_says_what_is_prepared(directory: RunDirectory) -> None:
    events = EventWriter(directory.events_path, 1, 0)
    events.write("progress", phase="tokenising", done=30, total=120, unit="rows")
    events.close()
    directory.update_record(state="preparing")
    assert read_row(directory).note == "tokenising 25 %"


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_latest(tmp_path / "events.jsonl") == Latest()
    assert read_usd(tmp_path / "ledger.jsonl") is None


def test_money_is_that_of_all_attempts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    def spend(kind: Literal["begin", "running", "end"], attempt: int, usd: float) -> None:
        known: dict[str, Any] = {
            "t": 1e9,
            "uptime": 0.0,
            "boot_id": "",
            "seconds": 1.0,
            "gpus": 1,
            "source": "",
        }
        append_entry(path, Entry(kind=kind, attempt=attempt, usd=usd, usd_per_gpu_hour=1.0, **known))

    for attempt, last in ((1, 3.0), (2, 0.75)):
        spend("begin", attempt, 0.0)
        for part in (0.25, 0.5):
            spend("running", attempt, last * part)
        spend("end" if attempt == 1 else "running", attempt, last)
    assert read_usd(path) == 3.75
    with path.open("a") as file:
        file.write('{"kind": "runn')
    assert read_usd(path) == 3.75


@pytest.mark.parametrize(
    ("plugins", "method"),
    [
        ({}, "full"),
        ({"fsdp": {}}, "full fsdp"),
        ({"zero": {"stage": 3}}, "full zero3"),
        ({"lora": {"rank": 16}}, "lora r16"),
        ({"lora": {"rank": 8}, "qlora": {}, "fsdp": {}}, "qlora r8 fsdp"),
        ({"lora": {"rank": 8, "dora": True}}, "dora r8"),
        ({"lora": {"enabled": False}, "freeze": {}}, "freeze"),
        ({"lora": "odd"}, "full"),
        ("odd", "full"),
    ],
)
def test_the_method_is_in_a_few_words(directory: RunDirectory, plugins: object, method: str) -> None:
    values = {"model": {"path": "org/Qwen3-8B/"}, "plugins": plugins}
    directory.lock_path.write_text(json.dumps({"values": values}))
    assert read_settings(directory).method == method
    assert read_settings(directory).model == "Qwen3-8B"


def test_without_a_lock_the_recipe_tells_and_without_both_nothing(directory: RunDirectory) -> None:
    directory.lock_path.write_text("{")
    directory.recipe_path.write_text('[model]\npath = "a/b"\n[plugins.lora]\nrank = 4\n')
    assert (read_settings(directory).model, read_settings(directory).method) == ("b", "lora r4")
    directory.recipe_path.unlink()
    assert (read_settings(directory).model, read_settings(directory).method) == ("", "")


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        "{}",
        '{"name": "x", "id": "y", "created": "today"}',
        '{"name": "x", "id": "y", "state": 5}',
        '{"name": "x", "id": "y", "nproc": null}',
    ],
)
def test_a_record_that_cannot_be_read_makes_a_damaged_row(directory: RunDirectory, record: str) -> None:
    directory.record_path.write_text(record)
    (row,) = list_rows(directory.path.parent)
    assert (row.name, row.state, row.record) == ("fire", "damaged", None)
    assert "run.json" in row.note


def test_a_run_that_has_lost_its_record_is_damaged_and_other_folders_are_no_runs(
    directory: RunDirectory,
) -> None:
    parent = directory.path.parent
    (parent / "notes").mkdir()
    (parent / "file").touch()
    shutil.copytree(directory.path, parent / ".draft")
    directory.record_path.unlink()
    assert [(row.name, row.state) for row in list_rows(parent)] == [("fire", "damaged")]
    assert list_rows(parent / "nowhere") == []

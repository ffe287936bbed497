"""A row whose loss is not finite is named, and left out when the run goes on."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from stoker.checkpoint.manifest import read_manifest
from stoker.data.order import KeyedOrder
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.skips import FACT, Skip, read_skips, with_skip
from stoker.testing import tiny_recipe

WORK = Path(__file__).with_name("nan_work.py")
spec = importlib.util.spec_from_file_location("nan_work", WORK)
assert spec is not None
assert spec.loader is not None
work: Any = importlib.util.module_from_spec(spec)
sys.modules["nan_work"] = work
spec.loader.exec_module(work)

Fits = list[dict[str, Any]]

BATCHES = [KeyedOrder([20], 4, seed=0).rows(number) for number in range(1, 16)]
"""Rows of the tiny data, four to a batch; five batches are an epoch."""
EPOCH = ["train.epochs=1", "train.micro_batch_size=1", "checkpoint.every=2 steps"]


def row_of_batch(number: int) -> int:
    """A row that no row of the evaluation equals."""
    return max(BATCHES[number - 1])


@pytest.fixture
def fit_on(rank_pool: Callable[[int], Any], tmp_path: Path) -> Callable[..., Fits]:
    """`fit_on(2, overrides)`: what each of two ranks did."""

    def fit(ranks: int, overrides: list[str], folder: str = "fit", **more: Any) -> Fits:
        where = tmp_path / folder
        where.mkdir(exist_ok=True)
        if ranks == 1:
            return [work.fit(str(where), overrides, **more)]
        done = rank_pool(ranks).call(f"{WORK}:fit", folder=str(where), overrides=overrides, **more)
        # JSON has made strings of the steps.
        return [each | {"losses": {int(k): v for k, v in each["losses"].items()}} for each in done]

    return fit


def skip(path: str, step: int, batches: int = 1, *, attempt: int = 1) -> None:
    """As the end of the attempt and `stoker resume --skip-batches` would."""
    directory = RunDirectory(Path(path))
    record = directory.update_record(error={"step": step}, attempt=attempt)
    directory.update_record(facts=with_skip(record, batches, directory.name))


def trained_rows(ranks: Fits) -> list[int]:
    return sorted(chain.from_iterable(rows for rank in ranks for rows in rank["rows"]))


@pytest.mark.parametrize("ranks", [1, 2])
def test_rank_and_rows_are_named_and_all_other_rows_are_trained_on_once(
    fit_on: Callable[..., Fits], ranks: int
) -> None:
    bad = row_of_batch(4)
    whole = fit_on(ranks, EPOCH, "whole")[0]
    failed = fit_on(ranks, EPOCH, row=bad)
    guilty = next(rank for rank in range(ranks) if [bad] in failed[rank]["rows"])
    assert len({rank["message"] for rank in failed}) == 1
    message, hint = failed[0]["message"], failed[0]["hint"]
    assert message.startswith(f"the loss of step 4 was not finite on rank {guilty}. It had rows ")
    assert "train.jsonl" in message
    assert "--skip-batches 1" in hint
    [alert] = failed[0]["alerts"]
    assert (alert["step"], alert["loss_ranks"]) == (4, [guilty])
    [group] = alert["rows"]
    assert (group["rank"], group["source"]) == (guilty, "data.train.0")
    assert bad in group["index_rows"]
    assert set(group["index_rows"]) <= set(BATCHES[3])
    assert len(group["index_rows"]) == 4 // ranks
    # Without a word about batches, it fails as it did.
    again = fit_on(ranks, EPOCH, directory=failed[0]["directory"], row=bad)
    assert again[0]["message"] == message

    skip(failed[0]["directory"], 4)
    rest = fit_on(ranks, EPOCH, directory=failed[0]["directory"], row=bad)
    assert rest[0]["message"] is None
    assert trained_rows(rest) == sorted(BATCHES[2] + BATCHES[4]), "after the checkpoint of step 2"
    losses = rest[0]["losses"]
    assert sorted(losses) == [1, 2, 3, 4]
    assert [losses[step] for step in (1, 2, 3)] == [whole["losses"][step] for step in (1, 2, 3)]
    manifest = read_manifest(Path(failed[0]["directory"]) / "checkpoints" / "step-00000004")
    assert (manifest.rows_consumed, manifest.optimizer_steps) == (20, 4)


def test_a_run_that_was_interrupted_again_keeps_what_is_left_out(fit_on: Callable[..., Fits]) -> None:
    """Two failures, each skipped; then one rest at once, and one in two parts."""
    steady = ["train.schedule=constant", "checkpoint.every=2 steps", "train.log_every=5"]
    # A row that comes again early in the second epoch; the third is not reached.
    bad = max(BATCHES[5])
    first, second, _ = (number for number, rows in enumerate(BATCHES, start=1) if bad in rows)
    taken = [batch for batch in range(1, 11) if batch not in (first, second, second + 1)]
    steps = len(taken)
    runs = []
    for folder, stops in (("a", [steps]), ("b", [steps - 1, steps])):
        long = [*steady, f"train.steps={steps}"]
        [failed] = fit_on(1, long, folder, row=bad)
        assert failed["step"] == first
        place = failed["directory"]
        skip(place, first)
        [failed] = fit_on(1, long, folder, row=bad, directory=place)
        assert failed["step"] == second - 1, "batches moved up by one"
        skip(place, second - 1, 2, attempt=2)
        assert read_skips(RunDirectory(Path(place)).read_record()) == (Skip(first, 1), Skip(second, 2))
        for stop in stops:
            part = [*steady, f"train.steps={stop}"]
            [done] = fit_on(1, part, folder, row=bad, directory=place)
        assert done["message"] is None
        runs.append(done)
    assert runs[0]["losses"] == runs[1]["losses"]
    assert runs[0]["weights"] == runs[1]["weights"]
    assert runs[1]["losses"].keys() == set(range(1, steps + 1))
    assert trained_rows(runs[1:]) == sorted(BATCHES[taken[-1] - 1]), "the last part has one step"


@pytest.mark.parametrize("ranks", [1, 2])
def test_where_only_the_gradient_was_not_finite_all_rows_of_the_step_are_named(
    fit_on: Callable[..., Fits], ranks: int
) -> None:
    failed = fit_on(ranks, EPOCH, gradient_step=3)
    message = failed[0]["message"]
    assert message.startswith("the gradient of step 3 was not finite, though its loss was on every rank")
    [alert] = failed[0]["alerts"]
    assert alert["loss_ranks"] == []
    named = [row for group in alert["rows"] for row in group["index_rows"]]
    assert sorted(named) == sorted(BATCHES[2])
    assert [group["rank"] for group in alert["rows"]] == list(range(ranks))


def test_an_infinite_loss_with_a_finite_gradient_is_stopped_too(fit_on: Callable[..., Fits]) -> None:
    [failed] = fit_on(1, EPOCH, row=row_of_batch(2), value="inf")
    assert failed["message"].startswith("the loss of step 2 was not finite on rank 0")
    assert failed["losses"].keys() == {1}


def test_nothing_after_the_last_good_step_is_saved_or_called_done(fit_on: Callable[..., Fits]) -> None:
    [failed] = fit_on(1, [*EPOCH, "train.log_every=10"], row=row_of_batch(3))
    folder = Path(failed["directory"])
    assert (failed["step"], failed["run_step"]) == (3, 2)
    newest = max((folder / "checkpoints").glob("step-*"))
    assert newest.name == "step-00000002"
    assert read_manifest(newest).step == 2


def test_many_rows_are_counted_in_the_message_and_listed_in_the_event(
    fit_on: Callable[..., Fits],
) -> None:
    [failed] = fit_on(1, ["train.steps=2", "train.batch_size=20"], gradient_step=1)
    assert "and 4 more, which the alert in events.jsonl lists" in failed["message"]
    assert failed["alerts"][0]["rows"][0]["index_rows"] == list(range(20))


@pytest.fixture
def with_spoil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stoker is called from; the plugin `spoil` is installed for it."""
    metadata = tmp_path / "site" / "spoil-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: spoil\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[stoker.plugins]\nspoil = nan_work:Spoil\n")
    monkeypatch.setenv("PYTHONPATH", f"{metadata.parent}:{WORK.parent}", prepend=":")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    tiny_recipe(tmp_path)
    return tmp_path


def test_the_program_ends_with_71_and_goes_on_without_the_batch(with_spoil: Path) -> None:
    def stoker(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stoker", *arguments]
        return subprocess.run(command, cwd=with_spoil, capture_output=True, text=True)

    bad = row_of_batch(2)
    settings = chain.from_iterable(("--set", each) for each in [*EPOCH, f"plugins.spoil.row={bad}"])
    failed = stoker("run", "tiny.toml", "--plain", "--nproc", "2", *settings)
    assert failed.returncode == 71, failed.stderr
    assert "the loss of step 2 was not finite on rank " in failed.stderr
    assert "stoker resume tiny --skip-batches 1" in failed.stderr
    directory = RunDirectory(with_spoil / "runs" / "tiny")
    record = directory.read_record()
    assert record.error is not None
    assert (record.error["step"], record.step) == (2, 1)

    done = stoker("resume", "tiny", "--plain", "--skip-batches", "1")
    assert done.returncode == 0, done.stderr
    assert "left out: batch 2" in done.stdout
    record = directory.read_record()
    assert record.facts[FACT] == [{"step": 2, "batch": 2, "batches": 1, "attempt": 1}]
    steps = [event["step"] for event in read_events(directory.events_path) if event["kind"] == "step"]
    assert steps[-4:] == [1, 2, 3, 4]
    shown = stoker("show", "tiny")
    assert "left out     batch 2" in shown.stdout
    refused = stoker("resume", "tiny", "--skip-batches", "1", "--set", "train.log_every=2")
    assert refused.returncode == 2
    assert "no batch to begin with. 1 left out before stay so" in " ".join(refused.stderr.split())
    assert json.loads(stoker("show", "tiny", "--json").stdout)["run"]["state"] == "done"

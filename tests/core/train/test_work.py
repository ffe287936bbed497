"""The terms of MFU and HFU as a run counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import UsageError
from stoker.plan.machine import MachineFacts, write_machine
from stoker.run.throughput import read_throughput
from stoker.testing import Fit, tiny_fit

STEPS = ["train.steps=3"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The `work` event of a fit with a plugin's config."""
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))

    def found(plugins: Any, *settings: str) -> dict[str, Any]:
        (event,) = tiny_fit(tmp_path, plugins, [*STEPS, *settings]).of_kind("work")
        return event

    return found


def test_what_is_executed_holds_padding_and_what_is_computed_again(work: Any) -> None:
    padded = work({})
    alone = work({}, "train.micro_batch_size=1")
    again = work({"activation_checkpointing": {"mode": "full"}}, "train.micro_batch_size=1")
    needed = padded["model_flops_per_token"]
    assert alone["model_flops_per_token"] == again["model_flops_per_token"] == needed
    for event in (padded, alone, again):
        assert event["hardware_flops_per_token"] > needed
    # Rows alone have no padding; a forward of three passes is done once more.
    assert alone["hardware_flops_per_token"] < padded["hardware_flops_per_token"]
    assert 1.1 < again["hardware_flops_per_token"] / alone["hardware_flops_per_token"] < 1.34
    assert alone["hardware_flops_per_token"] < 1.05 * needed


def test_the_peak_of_a_processor_is_what_was_measured(work: Any) -> None:
    unknown = work({})
    assert (unknown["device"], unknown["peak_flops_per_second"], unknown["peak_source"]) == (
        "cpu",
        None,
        None,
    )
    write_machine(MachineFacts("cpu", 1.0, {"2": 4e10, "4": 8e10}, 1e10))
    measured = work({}, "train.precision=fp32")
    assert (measured["peak_flops_per_second"], measured["peak_source"]) == (8e10, "stoker calibrate")
    assert work({}, "train.precision=bf16_mixed")["peak_flops_per_second"] == 4e10


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UsageError("config.json has no hidden_size."), "config.json has no hidden_size."),
        (KeyError("layers"), "KeyError: 'layers'"),
    ],
)
def test_what_cannot_be_counted_is_a_note_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def refuse(config: Any) -> Any:
        raise error

    monkeypatch.setattr("stoker.train.work.read_architecture", refuse)
    fit: Fit = tiny_fit(tmp_path, {}, STEPS)
    assert fit.outcome.exit_code == 0
    said = [event["message"] for event in fit.of_kind("note")]
    assert f"MFU and HFU are not known: {words}" in said
    assert fit.of_kind("work") == []
    speed = read_throughput(fit.directory.events_path)
    assert speed is not None
    assert speed.arithmetic is None

"""What is said of the devices' arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.run.arithmetic import DEFINITIONS, arithmetic_of


def work(**fields: Any) -> dict[str, Any]:
    """A `work` event of a processor that nobody has measured."""
    return {
        "kind": "work",
        "model_flops_per_token": 6e9,
        "hardware_flops_per_token": 8e9,
        "device": "cpu",
        "peak_flops_per_second": None,
        "peak_source": None,
        **fields,
    }


def lines(event: dict[str, Any], tokens_per_second: float) -> list[str]:
    found = arithmetic_of(event, tokens_per_second)
    assert found is not None
    return list(found.lines())


def test_a_gpu_with_a_data_sheet_has_percentages_and_their_definitions() -> None:
    event = work(device="A100", peak_flops_per_second=624e12, peak_source="data sheet")
    found = arithmetic_of(event, 40_000.0)
    assert found is not None
    assert (found.mfu, found.hfu) == pytest.approx((2.4e14 / 6.24e14, 3.2e14 / 6.24e14))
    first, *rest = found.lines()
    assert first == "MFU 38.5%, HFU 51.3% of the 624.0 TFLOP/s in the data sheet"
    assert tuple(rest) == DEFINITIONS


def test_a_processor_that_was_measured_is_compared_with_that() -> None:
    said = lines(work(peak_flops_per_second=1e11, peak_source="stoker calibrate"), 5.0)
    assert said[0] == "30 GFLOP/s that forward and backward need, 40 GFLOP/s executed"
    assert said[1] == "30.0% and 40.0% of the 100 GFLOP/s measured by stoker calibrate"
    assert "a processor has none" in said[2]


@pytest.mark.parametrize(
    ("device", "why"),
    [
        ("cpu", "`stoker calibrate` measures"),
        ("NVIDIA\x1b[2J X1", "no data sheet is known here of NVIDIA?"),
    ],
)
def test_without_any_peak_it_is_said_why_there_is_no_percentage(device: str, why: str) -> None:
    said = lines(work(device=device), 5.0)
    assert said[0] == "30 GFLOP/s that forward and backward need, 40 GFLOP/s executed"
    assert why in said[1]
    assert not any("%" in line for line in said)


def test_events_that_cannot_be_read_say_nothing() -> None:
    assert arithmetic_of(None, 5.0) is None
    assert arithmetic_of(work(model_flops_per_token="many"), 5.0) is None

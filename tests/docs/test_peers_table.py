"""The arithmetic of benchmarks/peers.py: what its table says follows from the runs."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def comparing(benchmark_script):
    return benchmark_script("contenders/comparing")


def run(speed, losses=(2.0, 1.0), held_out=()):
    return {
        "tokens_per_second": speed,
        "peak_bytes": 2e9,
        "start_up_seconds": 5.0,
        "losses": list(losses),
        "held_out": list(held_out),
    }


def test_ratios_are_of_neighbours_and_their_median_is_judged(comparing):
    # The medians alone would say 200 / 100; round by round it is 1.5, 1.0 and 4.0.
    runs = {
        "trl": {1: run(200.0), 2: run(100.0), 3: run(50.0), 4: run(1.0)},
        "stoker": {1: run(300.0), 2: run(100.0), 3: run(200.0)},
    }
    assert comparing.ratios(runs, "trl", "tokens_per_second") == [1.5, 1.0, 4.0]
    row = next(line for line in comparing.table("full-fp32", runs) if line.startswith("| trl "))
    assert "**1.50 (1.00 to 4.00)** | 1.80 |" in row
    runs["stoker"][1] = run(400.0)
    row = next(line for line in comparing.table("full-fp32", runs) if line.startswith("| trl "))
    assert "| 2.00 (1.00 to 4.00) | 1.80 |" in row


def test_curves_that_part_at_any_step_are_told(comparing):
    runs = {"bare": {1: run(1.0), 2: run(1.0)}, "stoker": {1: run(1.0), 2: run(1.0, (2.0, 1.001))}}
    assert comparing.curve_difference(runs, "stoker") == pytest.approx(1e-3)
    assert "Curves agree: NO" in "\n".join(comparing.table("lora-fp32", runs))
    assert "Curves agree: yes" in "\n".join(comparing.table("lora-bf16", runs))
    runs["stoker"][2] = run(1.0, (2.0,))
    assert comparing.curve_difference(runs, "stoker") == float("inf")


def test_a_loss_that_is_no_number_does_not_agree(comparing):
    runs = {"bare": {1: run(1.0)}, "stoker": {1: run(1.0, (2.0, float("nan")))}}
    assert "Curves agree: NO" in "\n".join(comparing.table("full-bf16", runs))


def test_time_to_a_held_out_loss_is_that_of_the_first_evaluation_below_it(comparing):
    curve = run(1.0, held_out=[(1.0, 3.0), (2.0, 2.0), (3.0, 2.5)])
    assert comparing.seconds_to(curve, 2.5) == 2.0
    assert comparing.seconds_to(curve, 1.9) is None

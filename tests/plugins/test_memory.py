"""Counting what a rank holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.testing import tiny_fit

WORK = Path(__file__).parents[1] / "fit_work.py"


def counted(events: list[dict[str, Any]]) -> list[dict[str, int]]:
    return [event for event in events if event["kind"] == "memory"]


def test_a_full_run_holds_what_its_regime_says(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"memory": {}})
    num_parameters = sum(p.numel() for p in fit.run.engine.model.parameters())
    (found,) = counted(fit.events)
    assert found["step"] == 2
    assert found["weights"] == found["gradients"] == 4 * num_parameters
    # Two moments, and a step counter of four bytes for each of the 20 tensors.
    assert found["optimizer"] == 8 * num_parameters + 4 * len(list(fit.run.engine.model.parameters()))
    assert found["master_weights"] == found["buffers"] == 0
    (note,) = (e["message"] for e in fit.of_kind("note") if "rank 0 holds" in e["message"])
    assert "weights 0.1, gradients 0.1, optimizer 0.2" in note


@pytest.mark.parametrize(("precision", "sizes"), [("bf16", (2, 2, 4)), ("bf16_fp32_states", (2, 2, 8))])
def test_other_regimes_take_less(tmp_path: Path, precision: str, sizes: tuple[int, int, int]) -> None:
    fit = tiny_fit(tmp_path, {"memory": {}}, [f"train.precision={precision}"])
    num_parameters = sum(p.numel() for p in fit.run.engine.model.parameters())
    (found,) = counted(fit.events)
    held = (found["weights"], found["gradients"], found["optimizer"])
    assert held == pytest.approx([size * num_parameters for size in sizes], rel=0.01)


def test_an_adapter_has_gradients_and_states_of_its_own_only(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {"memory": {}, "lora": {"rank": 2}})
    trained = sum(p.numel() for p in fit.run.engine.model.parameters() if p.requires_grad)
    (found,) = counted(fit.events)
    assert found["gradients"] == 4 * trained
    assert found["weights"] > 10 * found["gradients"]


def test_every_rank_says_what_it_holds(tmp_path: Path, rank_pool: Callable[[int], Any]) -> None:
    first, _ = rank_pool(2).call(f"{WORK}:fit", folder=str(tmp_path), plugins={"memory": {}})
    found = counted(first["events"])
    assert sorted(event["rank"] for event in found) == [0, 1]
    assert found[0]["weights"] == found[1]["weights"]

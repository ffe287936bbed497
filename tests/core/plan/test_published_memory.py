"""The memory of a plan beside what others measured with their trainers."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def published(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("plan_memory_published")


def errors(published: ModuleType, *sources: str) -> list[float]:
    rows = [row for row in published.read_rows() if not sources or row.source in sources]
    return sorted(abs(published.error(row)) for row in rows if row.memory is not None)


def test_half_of_all_measurements_are_within_six_per_cent(published: ModuleType) -> None:
    found = errors(published)
    assert len(found) > 160
    assert statistics.median(found) < 0.06


def test_a_trainer_of_the_same_libraries_that_was_kept_aside_is_within_three_per_cent(
    published: ModuleType,
) -> None:
    """transformers and PEFT: full, LoRA and QLoRA of two models on one, two and four GPUs."""
    found = errors(published, "fms-granite", "fms-liger")
    assert len(found) > 40
    assert statistics.median(found) < 0.03
    assert found[int(0.75 * len(found))] < 0.05


def test_nothing_that_ran_out_of_memory_is_said_to_fit(published: ModuleType) -> None:
    out_of_memory = [row for row in published.read_rows() if row.memory is None]
    assert len(out_of_memory) > 30
    assert not [str(row) for row in out_of_memory if row.wrongly_fits]


def test_no_other_formula_is_nearer(published: ModuleType) -> None:
    rows = [row for row in published.read_rows() if row.memory is not None]
    for peer in published.PEERS.values():
        theirs: list[Any] = [(row, said) for row in rows if (said := peer(row)) is not None]
        ours = statistics.median(abs(published.error(row)) for row, _ in theirs)
        assert ours < statistics.median(abs(said / row.memory - 1) for row, said in theirs) / 2

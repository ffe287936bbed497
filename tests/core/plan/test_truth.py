"""The formula beside tensors that are really alive in the loop. See benchmarks/plan_memory.py."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.testing.memory_cells import CellBench, MemoryCell, cell_bench, read_cells

CELLS = read_cells(Path(__file__).parent / "memory_cells.toml")
QUICK = [cell for cell in CELLS if cell.quick]
WORST_TOTAL = 0.05
MEDIAN_OF_COMPONENT = 0.03


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellBench]:
    with cell_bench(tmp_path_factory.mktemp("cells")) as bench:
        yield bench


def test_there_are_enough_cells_of_every_kind() -> None:
    assert len(CELLS) >= 60
    assert sum(cell.outside for cell in CELLS) >= 20
    assert {cell.kind for cell in CELLS} >= {
        *("full, one rank", "lora, one rank", "qlora, one rank", "full, ddp"),
        *("full, fsdp", "lora, fsdp", "full, zero", "lora, zero"),
    }


@pytest.mark.parametrize("cell", QUICK, ids=lambda cell: cell.name)
def test_predicted_memory_is_what_the_loop_holds(bench: CellBench, cell: MemoryCell) -> None:
    comparison = bench.compare(cell)

    assert abs(comparison.total_error) < WORST_TOTAL
    assert comparison.estimate.peak_moment == comparison.measured.peak_moment
    for name, error in comparison.component_errors().items():
        assert abs(error) < MEDIAN_OF_COMPONENT, name


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_cell_is_within_five_per_cent_and_each_component_within_three(
    bench: CellBench,
) -> None:
    found = {cell.name: bench.compare(cell) for cell in CELLS}

    errors = {name: comparison.total_error for name, comparison in found.items()}
    assert {name: error for name, error in errors.items() if abs(error) > WORST_TOTAL} == {}
    components: dict[str, list[float]] = defaultdict(list)
    for comparison in found.values():
        for name, error in comparison.component_errors().items():
            components[name].append(abs(error))
    medians = {name: statistics.median(values) for name, values in components.items()}
    assert {name: value for name, value in medians.items() if value > MEDIAN_OF_COMPONENT} == {}

"""Every cell of the capability matrix is true: what works trains, `check` refuses what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker.capabilities import MATRIX_AXES
from stoker.cli.matrix import load_all
from stoker.matrix import Cell, Matrix, pairwise, with_folder
from stoker.recipe.loading import inspect_recipe, load_recipe
from stoker.recipe.model import Recipe
from stoker.run.trials import TrialRanks
from stoker.testing import tiny_recipe

# Every step takes all rows, so that its loss says what the one before has learnt.
SETTINGS = [
    "train.steps=5",
    "train.batch_size=20",
    "train.micro_batch_size=5",
    "train.schedule=constant",
    "data.eval=[]",
    "train.log_every=5",
]
# Widths that 4-bit blocks divide.
SIZES = {"hidden_size": 64, "intermediate_size": 128}
TESTED_AXES = (*MATRIX_AXES, "packing", "optimizer")
"""`compile` is tested by its plugin: a cell takes half a minute."""


def every_cell() -> Matrix:
    classes, failures = load_all()
    assert not failures
    return Matrix(classes)


MATRIX = every_cell()
CELLS = list(MATRIX.cells())
WORKING = [cell for cell in CELLS if cell.verdict == "works"]
REFUSED = [cell for cell in CELLS if cell.verdict == "refused"]


def with_further_axes() -> list[Cell]:
    """Cells that have a value of an axis of a plugin's own beside every engine and method."""
    cells = []
    for axis in TESTED_AXES[len(MATRIX_AXES) :]:
        for value in MATRIX.axes[axis][1:]:
            for engine in MATRIX.axes["engine"]:
                for method in ("full", "lora"):
                    cells.append(
                        MATRIX.cell(
                            {"engine": engine, "method": method, "precision": "fp32", axis: value}
                        )
                    )
    return cells


FURTHER = [cell for cell in with_further_axes() if cell.verdict == "works"]


def name_of(cell: Cell) -> str:
    values = [value for value in cell.values.values() if value not in ("none", "default")]
    return "-".join(values) or "default"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stoker.testing import write_tiny_model

    folder = tmp_path_factory.mktemp("matrix")
    write_tiny_model(folder / "model", **SIZES)
    return folder


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialRanks]:
    with TrialRanks(2, tmp_path_factory.mktemp("ranks")) as running:
        yield running


def write_recipe(cell: Cell, folder: Path, tmp_path: Path) -> Path:
    """A recipe file that asks for a cell."""
    import tomlkit

    if not (folder / "tiny.toml").exists():
        tiny_recipe(folder, SETTINGS)
    tables = tomlkit.parse((folder / "tiny.toml").read_text()).unwrap()
    tables["train"]["precision"] = cell.values["precision"]
    tables["plugins"] = {name: with_folder(t, str(tmp_path)) for name, t in cell.tables.items()}
    path = tmp_path / "cell.toml"
    path.write_text(tomlkit.dumps(tables))
    return path


def train(cell: Cell, folder: Path, tmp_path: Path, ranks: TrialRanks) -> None:
    """Five steps on two ranks; fails if they fail or the loss does not fall."""
    recipe: Recipe = load_recipe(write_recipe(cell, folder, tmp_path), SETTINGS)
    trial = ranks.run(f"cell-{len(list((ranks.folder / 'runs').glob('*')))}", recipe)
    assert trial.problem == "", trial.failure
    losses = trial.values("loss")
    assert len(losses) == 5
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("cell", [*pairwise(WORKING), *pairwise(FURTHER)], ids=name_of)
def test_a_cell_that_works_trains(cell: Cell, folder: Path, tmp_path: Path, ranks: TrialRanks) -> None:
    train(cell, folder, tmp_path, ranks)


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_all_cells_that_work_train(folder: Path, tmp_path: Path, ranks: TrialRanks) -> None:
    problems: dict[str, Any] = {}
    for number, cell in enumerate([*WORKING, *FURTHER]):
        own = tmp_path / str(number)
        own.mkdir()
        try:
            train(cell, folder, own, ranks)
        except AssertionError as error:
            problems[name_of(cell)] = str(error)
    assert problems == {}


def refused_by_check(cell: Cell, folder: Path, tmp_path: Path) -> bool:
    recipe, problems = inspect_recipe(write_recipe(cell, folder, tmp_path), SETTINGS)
    return recipe is None and cell.reason in [problem.message for problem in problems]


def has_tables(cell: Cell) -> bool:
    """Whether a recipe can ask for it at all: offload without an engine that offers it cannot."""
    return bool(cell.tables) and "does not come with" not in cell.reason


@pytest.mark.parametrize("cell", pairwise([c for c in REFUSED if has_tables(c)]), ids=name_of)
def test_a_cell_that_is_refused_is_refused_by_check_with_its_reason(
    cell: Cell, folder: Path, tmp_path: Path
) -> None:
    assert refused_by_check(cell, folder, tmp_path), cell.reason


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_cells_that_are_refused_are_refused_by_check(folder: Path, tmp_path: Path) -> None:
    cells = [cell for cell in REFUSED if has_tables(cell)]
    assert [name_of(cell) for cell in cells if not refused_by_check(cell, folder, tmp_path)] == []


def required(engines: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """What must work, whatever plugins declare."""
    for engine in engines:
        for method in ("full", "lora"):
            for precision in ("fp32", "bf16_mixed"):
                for checkpointing in ("none", "full"):
                    yield {
                        "engine": engine,
                        "method": method,
                        "precision": precision,
                        "checkpointing": checkpointing,
                    }
    yield {"engine": "zero-2", "offload": "cpu"}
    yield {"engine": "zero-3", "offload": "cpu"}
    yield {"engine": "zero-3", "offload": "nvme"}
    for quantization in ("nf4", "fp4"):
        yield {"quantization": quantization, "method": "lora"}
    for engine in engines[:5]:
        for precision in ("bf16", "bf16_fp32_states"):
            yield {"engine": engine, "precision": precision}


def test_nothing_that_must_work_is_refused(engines: tuple[str, ...]) -> None:
    refused = [values for values in required(engines) if MATRIX.cell(values).verdict != "works"]
    assert refused == []

"""A row of a comparison becomes a recipe whose plan says what the row said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker_tui.models.compose.bench import Bench
from stoker_tui.models.compose.choose import changes
from stoker_tui.models.compose.document import Document

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture(scope="module")
def own_bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def choose(document: Document, row: dict[str, Any], bench: Bench) -> None:
    """Rewrite the recipe to what a row says, as the screen Plan does."""
    document.apply_all(list(changes(document, row, bench.schema())), "choose")


def agree(bench: Bench, document: Document, row: dict[str, Any]) -> None:
    """The plan of the document on the row's machines is the row."""
    machines = {name: row[name] for name in ("gpu", "gpus", "nodes")}
    answer = bench.plan(document.text, document.path, **machines)
    plan = answer["plan"]
    assert answer["ok"], answer["problems"]
    assert plan["fits"]
    assert plan["per_gpu"]["total"] == pytest.approx(row["total_bytes"], rel=1e-3)
    assert plan["micro_batch"]["accumulation"] == row["accumulation"]
    assert {axis: plan["situation"][axis] for axis in row["values"]} == row["values"]
    if plan["hours"] is not None:
        assert plan["hours"]["mid"] == pytest.approx(row["hours"], rel=0.05)


@pytest.mark.parametrize("any_method", [False, True])
@pytest.mark.parametrize("name", ["lora_8b", "full"])
def test_a_chosen_row_passes_check_and_its_plan_agrees(
    own_bench: Bench, name: str, any_method: bool
) -> None:
    path = RECIPES / f"{name}.toml"
    rows = own_bench.compare(path.read_text(), path, any_method=any_method)["candidates"]
    chosen = [row for row in rows[:: len(rows) // 5] if not row["to_fill_in"]]
    assert len(chosen) >= 3
    for row in chosen:
        document = Document.open(path)
        choose(document, row, own_bench)
        agree(own_bench, document, row)
        document.undo()
        assert not document.is_modified


def test_of_a_recipe_with_a_base_only_what_differs_is_written(own_bench: Bench) -> None:
    path = RECIPES / "zero3_cpu.toml"
    rows = own_bench.compare(path.read_text(), path, gpu="a100-80gb", gpus=2, everything=True)[
        "candidates"
    ]
    plain = next(row for row in rows if set(row["values"].values()) == {"default", "none"})
    document = Document.open(path)
    choose(document, plain, own_bench)
    assert "zero" not in document.text or not document.is_on("zero")
    assert "seed" not in document.text
    agree(own_bench, document, plain)


def test_what_only_the_author_knows_is_asked_for(own_bench: Bench) -> None:
    path = RECIPES / "zero3_70b.toml"
    rows = own_bench.compare(path.read_text(), path, gpu="h100-80gb", everything=True, limit=5000)
    row = next(row for row in rows["candidates"] if row["to_fill_in"])
    document = Document.open(path)
    choose(document, row, own_bench)
    assert row["to_fill_in"] == ["plugins.zero.nvme_path"]
    assert "{folder}" not in document.text
    assert [each["key"] for each in own_bench.check(document.text, path)] == row["to_fill_in"]


def test_a_neighbour_is_a_row_too(own_bench: Bench) -> None:
    path = RECIPES / "fsdp_8b.toml"
    row = own_bench.neighbours(path.read_text(), path, gpu="h100-80gb")["faster"]
    document = Document.open(path)
    choose(document, row, own_bench)
    agree(own_bench, document, row)

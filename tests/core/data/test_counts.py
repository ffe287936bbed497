"""Counts that a plan reads are those of the rows that were tokenised, of exactly these data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.data.counts import NUM_QUANTILES, DataCounts, count_rows, recall_counts, remember_counts
from stoker.data.index import PreparedData, prepare_index
from stoker.recipe.model import Recipe

MakeRecipe = Callable[..., Recipe]


def write(path: Path, answers: list[str]) -> dict[str, str]:
    """A source of rows with these completions."""
    rows = ({"prompt": "q", "completion": answer} for answer in answers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), "format": "completion"}


@pytest.fixture
def sources(tmp_path: Path) -> list[dict[str, str]]:
    return [write(tmp_path / "a.jsonl", ["1" * 10] * 4), write(tmp_path / "b.jsonl", ["1", "1" * 50])]


def prepare(recipe: Recipe, tokenizer: Any) -> PreparedData:
    return prepare_index(recipe, tokenizer, {}, lambda *_: None)


def recalled(recipe: Recipe) -> DataCounts:
    counts = recall_counts(recipe)
    assert counts is not None
    return counts


def test_each_source_is_counted_as_it_was_tokenised(
    sources: list[dict[str, str]], make_recipe: MakeRecipe, tokenizer: Any
) -> None:
    recipe = make_recipe({"train": sources, "eval": [sources[0]]})
    assert recall_counts(recipe) is None
    data = prepare(recipe, tokenizer)
    first, second = recalled(recipe).train
    assert (first.rows, first.longest, first.tokens) == (4, 12, 48)  # prompt, answer, end
    assert (second.rows, second.longest, second.most_supervised) == (2, 52, 51)
    assert first.tokens + second.tokens == sum(data.train.lengths)
    assert first.supervised + second.supervised == sum(data.train.supervised_counts)
    assert recalled(recipe).evaluation == (first,)


def test_without_evaluation_there_is_none(
    sources: list[dict[str, str]], make_recipe: MakeRecipe, tokenizer: Any
) -> None:
    recipe = make_recipe({"train": sources})
    prepare(recipe, tokenizer)
    assert recalled(recipe).evaluation == ()


@pytest.mark.parametrize(
    "change", [{"sequence_length": 8}, {"supervise": "all"}, {"eval_fraction": 0.5}], ids=str
)
def test_other_limits_are_other_counts(
    sources: list[dict[str, str]], make_recipe: MakeRecipe, tokenizer: Any, change: dict[str, Any]
) -> None:
    prepare(make_recipe({"train": sources}), tokenizer)
    assert recall_counts(make_recipe({"train": sources, **change})) is None


def test_weights_steps_and_the_folder_that_stoker_is_called_from_change_no_count(
    sources: list[dict[str, str]],
    make_recipe: MakeRecipe,
    tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare(make_recipe({"train": sources}), tokenizer)
    monkeypatch.chdir(tmp_path)
    relative = [{**source, "path": os.path.relpath(source["path"]), "weight": 2.0} for source in sources]
    assert recall_counts(make_recipe({"train": relative}, steps=99)) is not None


def test_a_file_that_changed_is_not_known_and_one_that_is_gone_no_error(
    sources: list[dict[str, str]], make_recipe: MakeRecipe, tokenizer: Any
) -> None:
    recipe = make_recipe({"train": sources})
    prepare(recipe, tokenizer)
    write(Path(sources[0]["path"]), ["1" * 11] * 4)
    assert recall_counts(recipe) is None
    Path(sources[0]["path"]).unlink()
    assert recall_counts(recipe) is None


def test_a_damaged_file_is_none(
    sources: list[dict[str, str]], make_recipe: MakeRecipe, tokenizer: Any, cache: Path
) -> None:
    recipe = make_recipe({"train": sources})
    prepare(recipe, tokenizer)
    (path,) = (cache / "counts").iterdir()
    for text in ('{"train": [', "{}", '{"train": [{"rows": 1}], "evaluation": []}'):
        path.write_text(text)
        assert recall_counts(recipe) is None


def test_a_cache_that_cannot_be_written_keeps_nothing_from_going_on(
    sources: list[dict[str, str]], make_recipe: MakeRecipe, tokenizer: Any, cache: Path
) -> None:
    recipe = make_recipe({"train": sources})
    data = prepare(recipe, tokenizer)
    (path,) = (cache / "counts").iterdir()
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("a file where the folder was")
    remember_counts(recipe, data.train, data.evaluation)
    assert recall_counts(recipe) is None


def test_quantiles_reach_from_the_shortest_to_the_longest() -> None:
    counts = count_rows(range(1000, 0, -1), [1] * 1000)
    assert len(counts.quantiles) == NUM_QUANTILES
    assert (counts.quantiles[0], counts.quantiles[-1]) == (1, 1000)
    assert counts.quantiles[NUM_QUANTILES // 2] == pytest.approx(500, abs=2)
    assert count_rows([7], [6]).quantiles == (7,) * NUM_QUANTILES
    assert count_rows([], []).rows == 0

"""A recipe on so many GPUs of a type: micro-batches, steps, time, cost, and what is said about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker.data.counts import DataCounts, count_rows
from stoker.data.order import KeyedOrder
from stoker.errors import UsageError
from stoker.plan import dataset
from stoker.plan.compare import compare
from stoker.plan.gpus import find_gpu
from stoker.plan.plan import Plan, Target, make_plan
from stoker.plan.prices import given_price, load_prices
from stoker.plan.question import make_question
from stoker.plan.remarks import FROM_FIRST_STEP
from stoker.plan.situation import MicroBatch
from stoker.recipe.model import Recipe

RecipeOf = Callable[..., Recipe]
WriteRows = Callable[..., dict[str, Any]]

H100 = find_gpu("h100-80gb")


def planned(recipe: Recipe, **target: Any) -> Plan:
    return make_plan(recipe, Target(**{"gpu": H100, **target}))


@pytest.fixture
def counted(recipe_of: RecipeOf, write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch) -> RecipeOf:
    """A recipe whose data are counted: a hundred rows of 10 to 109 tokens, the last 5 of each learnt."""
    counts = DataCounts((count_rows(range(10, 110), [5] * 100),), (count_rows([20] * 10, [5] * 10),))
    monkeypatch.setattr(dataset, "recall_counts", lambda recipe: counts)
    return lambda **overrides: recipe_of(write_rows("rows.jsonl", [1]), **overrides)


def test_padded_micro_batches_are_as_long_as_their_longest_row(counted: RecipeOf) -> None:
    plan = planned(counted())
    assert plan.situation.micro_batch == MicroBatch(4, 109, 20, 109)  # memory: the largest
    assert (plan.situation.accumulation, plan.steps) == (2, 13)
    assert plan.tokens is not None
    assert plan.tokens.low == plan.tokens.mid == 13 * 8 * 59.5
    assert (
        "memory: the largest micro-batch, 4 x 109 positions, 20 of them supervised" in plan.assumptions
    )


def test_packed_micro_batches_are_one_row_of_documents(counted: RecipeOf) -> None:
    plan = planned(counted(plugins__packing={}))
    # As many tokens as four padded rows; some step of eight rows has more than that.
    assert plan.situation.micro_batch == MicroBatch(1, 4 * 109, 40, 109)
    assert plan.situation.accumulation == 2
    # No padding: the mean step is quicker than the mean padded one.
    packed, padded = (
        planned(recipe, gpu=find_gpu("cpu")).time
        for recipe in (counted(plugins__packing={}), counted(plugins__packing={"enabled": False}))
    )
    assert packed is not None
    assert padded is not None
    assert packed.compute < 0.8 * padded.compute


@pytest.mark.parametrize("tokens", [None, 1000])
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("batch_size", [8, 64])
def test_the_largest_packed_micro_batch_is_hardly_larger_than_that_of_a_run(
    counted: RecipeOf, batch_size: int, ranks: int, tokens: int | None
) -> None:
    from stoker_plugins.packing.bins import fill_bins

    table = {} if tokens is None else {"tokens": tokens}
    recipe = counted(plugins__packing=table, train__batch_size=batch_size, train__epochs=200)
    situation = planned(recipe, gpus=ranks).situation
    order = KeyedOrder([100], batch_size, seed=0)
    steps = [[10 + row for row in order.rows(step)] for step in range(1, 20_000 // batch_size)]
    cuts = [fill_bins(lengths, tokens or 4 * 109, ranks) for lengths in steps]
    sizes = [sum(lengths[number] for number in cut[0]) for lengths, cut in zip(steps, cuts, strict=True)]
    planned_size = situation.micro_batch.positions
    assert max(sizes) <= planned_size <= 1.25 * max(sizes)
    assert max(len(cut) for cut in cuts) in (
        ranks * situation.accumulation,
        ranks * (situation.accumulation - 1),
    )


def test_plugins_are_asked_about_the_packed_micro_batch(
    counted: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stoker_plugins.packing import Packing

    seen = []
    said = Packing.collect_estimates

    def noted(self: Any, situation: Any) -> Any:
        seen.append(situation.micro_batch.rows)
        return said(self) if said.__code__.co_argcount == 1 else said(self, situation)

    noted.stoker_impl = said.stoker_impl  # type: ignore[attr-defined]
    monkeypatch.setattr(Packing, "collect_estimates", noted)
    planned(counted(plugins__packing={}))
    assert seen[-1] == 1


def test_time_is_that_of_the_mean_micro_batch_and_of_evaluations(counted: RecipeOf) -> None:
    few = planned(counted(data__eval_fraction=0.1)).time
    often = planned(counted(data__eval_fraction=0.1, train__evaluate_every=1)).time
    assert few is not None
    assert often is not None
    assert often.step_seconds == few.step_seconds
    assert often.evaluation == pytest.approx(few.evaluation * 14 / 2)
    assert few.tokens_per_second.mid == pytest.approx(8 * 59.5 / few.step_seconds.mid)


@pytest.mark.parametrize(
    ("every", "checkpoints"), [("1 steps", 15), ("4 steps", 5), ("10 min", 2), ("auto", 2)]
)
def test_checkpoints_are_counted(counted: RecipeOf, every: str, checkpoints: int) -> None:
    two = planned(counted(checkpoint__every="100 steps")).time
    time = planned(counted(checkpoint__every=every)).time
    assert two is not None
    assert time is not None
    assert time.checkpoint == pytest.approx(two.checkpoint * checkpoints / 2)


def test_tokens_that_are_not_counted_widen_every_range(
    counted: RecipeOf, recipe_of: RecipeOf, write_rows: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = planned(counted()).time
    monkeypatch.undo()
    guessed = planned(recipe_of(write_rows("rows.jsonl", range(40, 440, 4))))
    assert exact is not None
    assert guessed.time is not None
    assert guessed.tokens is not None
    assert guessed.tokens.high == pytest.approx(1.25 * guessed.tokens.mid)
    widths = [time.hours.high / time.hours.mid for time in (exact, guessed.time)]
    assert widths[0] + 0.01 < widths[1]


def test_without_counts_epochs_have_no_steps_and_the_plan_says_how_to_get_them(
    recipe_of: RecipeOf,
) -> None:
    source = {"path": "someone/dataset", "format": "text"}
    plan = planned(recipe_of(source))
    assert (plan.steps, plan.tokens, plan.time, plan.cost) == (None, None, None, None)
    assert plan.fits
    assert any("`--count` tokenises them" in finding for finding in plan.findings)
    stated = planned(recipe_of(source, train__steps=7))
    assert stated.steps == 7
    assert stated.tokens is None
    assert stated.time is not None
    assert "data: not counted; every row is taken to be as long as data.sequence_length" in (
        stated.assumptions
    )
    assert FROM_FIRST_STEP in stated.assumptions


def test_ranks_share_the_step(counted: RecipeOf) -> None:
    plan = planned(counted(), gpus=2)
    assert plan.situation.accumulation == 1
    assert planned(counted(), gpus=4).situation.accumulation == 1  # two of the four wait


def test_gpus_that_nodes_do_not_divide_are_refused(counted: RecipeOf) -> None:
    with pytest.raises(UsageError, match="3 GPUs cannot be spread evenly over 2 nodes") as caught:
        planned(counted(), gpus=3, nodes=2)
    assert "all nodes together" in caught.value.hint


def test_an_unknown_model_is_refused_with_the_nearest_names(recipe_of: RecipeOf) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'llama-3-8b'") as caught:
        planned(recipe_of({"path": "a/b", "format": "text"}, model__path="org/lama-3-8b"))
    assert "config.json" in caught.value.hint


def test_an_architecture_that_nobody_knows_is_a_finding(counted: RecipeOf, tmp_path: Path) -> None:
    recipe = counted()
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "surprise"}))
    assert any("'surprise' is not known" in finding for finding in planned(recipe).findings)


@pytest.mark.parametrize(
    ("memory", "fits", "words"), [(0.5, False, "does not fit"), (1.02, True, "less than 5 % to spare")]
)
def test_what_does_not_fit_or_hardly_fits_is_found(
    counted: RecipeOf, memory: float, fits: bool, words: str
) -> None:
    total = planned(counted()).memory.total
    plan = planned(counted(), gpu=replace(H100, memory_bytes=memory * total))
    assert plan.fits == fits
    assert any(words in finding for finding in plan.findings)


# -- prices ---------------------------------------------------------------------------------------


def test_a_given_price_stands_for_its_type_of_gpu_alone(counted: RecipeOf) -> None:
    target = Target(H100, prices=load_prices()).at(given_price(H100.name, 100.0, "--price"))
    plan = make_plan(counted(), target)
    assert plan.cost is not None
    assert plan.cost.on_demand is not None
    assert plan.cost.on_demand.mid == 100.0
    assert plan.cost.spot is None
    question = make_question(counted(), plan, target, gpu=None, gpus=1, methods=False)
    assert len({gpu.name for gpu in question.gpus}) > 5
    a100 = next(gpu for gpu in question.gpus if gpu.name == "a100-80gb")
    other = make_plan(counted(), replace(target, gpu=a100))
    assert other.cost is not None
    assert other.cost.on_demand is not None
    assert other.cost.on_demand.mid < 10


def test_the_price_of_the_recipe_is_that_of_its_ledger(counted: RecipeOf) -> None:
    recipe = counted(plugins__cost={"usd_per_gpu_hour": 3.25})
    plan = make_plan(recipe, Target(H100, prices=load_prices()).at_recipes_price(recipe))
    assert plan.cost is not None
    assert plan.cost.on_demand is not None
    assert (plan.cost.on_demand.mid, plan.cost.on_demand.source) == (
        3.25,
        "plugins.cost.usd_per_gpu_hour",
    )
    assert plan.cost.on_demand_usd is not None
    assert plan.time is not None
    assert plan.cost.on_demand_usd.mid == pytest.approx(3.25 * plan.time.hours.mid)


def test_without_a_price_there_is_no_cost(counted: RecipeOf) -> None:
    plan = planned(counted())
    assert plan.cost is None
    assert plan.time is not None


# -- compare --------------------------------------------------------------------------------------


def test_a_comparison_takes_as_long_as_the_plan(counted: RecipeOf) -> None:
    """Of the strategy, GPUs and micro-batch that the plan has, both say the same."""
    recipe = counted(train__micro_batch_size=8)
    target = Target(H100, prices=load_prices())
    plan = make_plan(recipe, target)
    question = make_question(recipe, plan, target, gpu=H100, gpus=1, methods=False)
    (candidate,) = compare(question, {}).candidates
    assert candidate.micro_batch_rows == 8
    assert plan.time is not None
    assert candidate.memory.total == plan.memory.total
    assert candidate.time.step_seconds.mid == pytest.approx(plan.time.step_seconds.mid)
    assert candidate.hours == pytest.approx(plan.time.hours.mid, rel=0.05)  # but for checkpoints

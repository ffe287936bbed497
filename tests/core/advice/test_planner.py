"""With the real planner: nothing that is recommended fails to fit, by a plan of the recipe written."""

from __future__ import annotations

import itertools

import pytest

from stoker.advice.advise import advise
from stoker.advice.planner import FormulaPlanner
from stoker.advice.question import Question
from stoker.advice.recipes import Sources, recipe_texts, write_recipes
from stoker.dispatch import Hooks
from stoker.errors import UsageError
from stoker.plan.architecture import read_architecture
from stoker.plan.facts import facts_from
from stoker.plan.gpus import find_gpu
from stoker.plan.memory import MemoryEstimate, estimate_memory
from stoker.plan.models import find_model
from stoker.plan.prices import load_prices
from stoker.plan.situation import MicroBatch, Situation
from stoker.recipe.loading import load_recipe
from stoker.recipe.model import Recipe
from stoker.registry import make_plugins

MODELS = ("smollm2-135m", "llama-3.2-1b", "qwen2.5-7b", "llama-3-8b", "mixtral-8x7b", "llama-3-70b")
GPUS = ("t4-16gb", "v100-32gb", "rtx-4090", "l40s-48gb", "a100-80gb", "h200-141gb")
COUNTS = (1, 2, 3, 4, 8, 16)
FLAGS = (
    {},
    {"continued_pretraining": True},
    {"domain_shift": True, "examples": 200_000},
    {"multi_task": True},
)


@pytest.fixture(scope="module")
def real(matrix) -> FormulaPlanner:
    return FormulaPlanner(matrix.classes)


def memory_of(recipe: Recipe, gpu: str) -> MemoryEstimate:
    """A plan of a recipe as it was read, by way of its own plugins."""
    ranks = recipe.launch.gpus_per_node * recipe.launch.nodes
    rows, positions = recipe.train.micro_batch_size, recipe.data.sequence_length
    situation = Situation(
        architecture=read_architecture(find_model(recipe.model.path).config),
        precision=recipe.train.precision,
        micro_batch=MicroBatch(rows, positions, rows * positions, positions),
        gpu=find_gpu(gpu),
        ranks=ranks,
        nodes=recipe.launch.nodes,
        accumulation=recipe.train.batch_size // (rows * ranks),
    )
    hooks = Hooks(make_plugins(recipe.plugins))
    return estimate_memory(
        situation, facts_from(hooks.collect_mapping("collect_estimates", situation=situation))
    )


def cells():
    """Each pair of model and GPU once, with counts and flags going round."""
    for number, (model, gpu) in enumerate(itertools.product(MODELS, GPUS)):
        yield model, gpu, COUNTS[(number * 5 + number // 6) % 6], FLAGS[(number * 3 + number // 4) % 4]


@pytest.mark.parametrize(("model", "gpu", "gpus", "flags"), list(cells()))
def test_what_is_recommended_fits_by_a_plan_of_its_recipe(
    real, matrix, tmp_path, model, gpu, gpus, flags
) -> None:
    nodes = 2 if gpus == 16 else 1
    usual = {"examples": 20_000, "model": model, "gpu": gpu, "gpus": gpus, "nodes": nodes}
    question = Question(**{**usual, **flags})
    advice = advise(question, real, matrix)
    assert all(rung.here.estimate.fits for rung in advice.ladder if rung.here)
    assert all(rung.elsewhere.estimate.fits for rung in advice.ladder if rung.elsewhere)
    assert all(each.estimate.fits for each in (advice.cheaper, advice.better) if each)
    if advice.choice is None:
        assert advice.status == "does_not_fit"
        assert advice.rung is None or not advice.rung.here
        return
    models = {rung.model: real.model_path(rung.model) for rung in advice.ladder}
    texts = recipe_texts(advice, Sources(models), tmp_path)
    (path,) = write_recipes({"recommended.toml": texts["recommended.toml"]}, tmp_path)
    memory = memory_of(load_recipe(path), gpu)
    assert memory.fits
    assert memory.total == pytest.approx(advice.choice.estimate.total_bytes)


def test_the_grid_has_every_model_gpu_count_and_flag() -> None:
    models, gpus, counts, flags = zip(*cells(), strict=True)
    assert set(models) == set(MODELS)
    assert set(gpus) == set(GPUS)
    assert set(counts) == set(COUNTS)
    assert all(each in flags for each in FLAGS)


def test_a_model_in_a_folder(real, tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        real.num_parameters(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UsageError, match="no JSON object"):
        real.num_parameters(str(tmp_path))
    assert real.model_path(str(tmp_path)) == str(tmp_path)


def test_what_recipes_call_a_model(real) -> None:
    assert real.model_path("llama-3-8b") == find_model("llama-3-8b").hub_id
    assert (
        real.model_path("meta-llama/Meta-Llama-3-8B-Instruct") == "meta-llama/Meta-Llama-3-8B-Instruct"
    )


def test_spot_costs_count_work_done_again(real, matrix) -> None:
    advice = advise(
        Question(model="llama-3-8b", examples=200_000, gpu="a100-80gb", gpus=8), real, matrix
    )
    estimate = advice.choice.estimate
    spot = next(
        price
        for price in load_prices().prices
        if price.is_spot and (price.gpu, price.provider) == ("a100-80gb", estimate.spot_provider)
    )
    assert estimate.spot_usd.mid > spot.mid * 8 * estimate.hours.mid


def test_spot_prices_count_only_where_they_are_lower(real) -> None:
    for gpu in real.gpus():
        on_demand, spot = real._prices_of(gpu)
        assert spot is None or on_demand is None or spot.mid < on_demand.mid


def test_a_cpu_is_not_multiplied(real, matrix) -> None:
    advice = advise(Question(model="smollm2-135m", examples=2000, gpu="cpu", gpus=1), real, matrix)
    assert advice.choice.candidate.gpu == "cpu"
    others = [rung.elsewhere.candidate.gpu for rung in advice.ladder if rung.elsewhere]
    assert others
    assert "cpu" not in others


def test_an_unknown_gpu_is_refused(real) -> None:
    with pytest.raises(UsageError):
        real.memory_bytes("a100-99gb")

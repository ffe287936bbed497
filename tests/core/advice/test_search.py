"""The first way to train that fits, in the order of the rules, out of what plugins offer together."""

from __future__ import annotations

import itertools

import pytest

from stoker.advice.search import Search
from stoker.advice.strategy import (
    ATTENTION,
    CHECKPOINTING,
    ENGINES,
    OFFLOADS,
    REGIMES,
    Shape,
    preference,
)
from stoker.matrix import Matrix
from stoker.scaffold.choose import with_template_options


@pytest.fixture
def search(planner, matrix) -> Search:
    return Search(planner, matrix)


def values(choice) -> dict[str, str]:
    return {"engine": "default", **choice.candidate.values}


SHAPES = [
    Shape(*each)
    for each in itertools.product(("full", "lora", "qlora"), (1, 2, 8, 16), (1, 2), (True, False))
]


@pytest.mark.parametrize("table", [ENGINES, REGIMES, OFFLOADS, CHECKPOINTING, ATTENTION])
def test_every_table_has_an_answer_for_every_shape(table) -> None:
    assert all(preference(table, shape).tries for shape in SHAPES)
    assert {preference(table, shape).name for shape in SHAPES} == {each.name for each in table}


def test_every_value_of_the_tables_is_offered_by_some_plugin(matrix) -> None:
    for each in (*ENGINES, *REGIMES, *OFFLOADS, *CHECKPOINTING, *ATTENTION):
        for axis, value in (item for tried in each.tries for item in tried.items()):
            assert value in matrix.axes[axis]


def test_on_one_gpu_nothing_is_shared(search, ask) -> None:
    choice = search.find(ask(gpus=1), "lora")
    assert values(choice)["engine"] == "default"
    assert choice.preferences["engine"].name == "one-gpu"


@pytest.mark.parametrize(
    ("gpus", "nodes", "engine", "rule"),
    [
        (4, 1, "fsdp-shard_grad_op", "single-node"),
        (8, 1, "fsdp-shard_grad_op", "single-node"),
        (16, 2, "fsdp-full_shard", "several-nodes"),
    ],
)
def test_full_fine_tuning_is_shared_by_the_number_of_nodes(search, ask, gpus, nodes, engine, rule):
    choice = search.find(ask(gpus=gpus, nodes=nodes), "full")
    assert values(choice)["engine"] == engine
    assert values(choice)["precision"] == "bf16_mixed"
    assert choice.preferences["engine"].name == rule


def test_weights_are_divided_only_where_they_do_not_fit_whole(search, ask) -> None:
    small = search.find(ask(model="qwen2.5-7b", gpus=4, gpu="l40s-48gb"), "full")
    assert values(small)["engine"] == "fsdp-full_shard"


def test_without_fsdp_it_is_the_stage_of_zero(planner, matrix, ask) -> None:
    without = Matrix({name: each for name, each in matrix.classes.items() if name != "fsdp"})
    choice = Search(planner, without).find(ask(gpus=8), "full")
    assert values(choice)["engine"] == "zero-2"
    assert choice.candidate.tables["zero"] == {"stage": 2}


def test_full_fine_tuning_gives_up_precision_before_it_gives_up(search, ask) -> None:
    tight = search.find(ask(gpus=1), "full")
    assert (values(tight)["precision"], values(tight).get("optimizer", "default")) == ("bf16", "default")
    assert values(tight).get("offload", "none") == "none"


def test_adapters_are_replicated_where_the_base_fits_and_sharded_where_not(search, ask) -> None:
    assert values(search.find(ask(gpus=4), "lora"))["engine"] == "default"
    assert values(search.find(ask(model="llama-3-70b", gpus=4), "lora"))["engine"] == "fsdp-full_shard"


def test_a_quantized_base_is_never_sharded(search, ask) -> None:
    choice = search.find(ask(gpus=2, gpu="rtx-4090"), "qlora")
    assert values(choice)["quantization"] == "nf4"
    assert values(choice)["engine"] == "default"
    assert search.find(ask(model="llama-3-70b", gpus=2, gpu="rtx-4090"), "qlora") is None


def test_what_does_not_fit_is_not_found(search, ask) -> None:
    assert search.find(ask(model="llama-3.1-405b", gpus=8), "full") is None


def test_a_gpu_without_bfloat16_gets_float16(search, ask) -> None:
    choice = search.find(ask(model="qwen2.5-0.5b", gpu="t4-16gb", gpus=2), "full")
    assert values(choice)["precision"] == "fp16_mixed"
    assert choice.preferences["precision"].name == "no-bf16"


def test_rows_at_once_divide_a_rank_s_share_of_the_batch(search, ask) -> None:
    for gpus, batch in itertools.product((1, 2, 3, 4, 8, 48), (1, 6, 32)):
        candidate = search.find(ask(gpus=gpus, batch_size=batch), "lora").candidate
        assert candidate.batch_size % (candidate.micro_batch_size * gpus) == 0
        assert candidate.accumulation >= 1
        assert batch <= candidate.batch_size < batch + 4 * gpus
    assert search.find(ask(gpus=3), "lora").candidate.batch_size == 36


def test_rows_are_no_longer_than_the_model_has_positions(search, ask) -> None:
    candidate = search.find(ask(tokens_per_example=6000, gpus=1), "lora").candidate
    assert (candidate.row_tokens, candidate.mean_tokens) == (8192, 6000)


def test_full_fine_tuning_recomputes_and_adapters_do_if_they_must(search, ask) -> None:
    assert values(search.find(ask(gpus=8), "full"))["checkpointing"] == "full"
    short = search.find(ask(gpus=1, tokens_per_example=128), "lora")
    assert values(short)["checkpointing"] == "none"
    long = search.find(ask(gpus=1, tokens_per_example=8000), "lora")
    assert values(long)["checkpointing"] == "full"


def test_the_smallest_thing_has_more_gpus_or_a_larger_type(search, ask) -> None:
    assert search.find(ask(gpus=4), "full", "llama-3-70b", offload=False) is None
    more = search.smallest(ask(gpus=1), "full", "llama-3-70b")
    assert (more.candidate.gpu, more.candidate.gpus, more.candidate.nodes) == ("a100-80gb", 8, 1)
    assert "offload" not in {axis for axis, value in values(more).items() if value != "none"}
    larger = search.smallest(ask(gpu="rtx-4090", gpus=8), "qlora", "llama-3-70b")
    assert (larger.candidate.gpu, larger.candidate.gpus) == ("l40s-48gb", 1)


def test_two_nodes_where_one_is_too_small(search, ask) -> None:
    more = search.smallest(ask(gpus=1), "full", "llama-3.1-405b")
    assert (more.candidate.gpus, more.candidate.nodes) == (64, 8)


def test_every_table_that_is_found_belongs_to_a_cell_that_works(search, ask, matrix) -> None:
    for method, gpus, gpu in itertools.product(
        ("full", "lora", "qlora"), (1, 2, 16), ("rtx-4090", "a100-80gb")
    ):
        if choice := search.find(ask(gpus=gpus, gpu=gpu), method):
            cell = matrix.cell(choice.candidate.values)
            assert cell.verdict != "refused"
            assert choice.candidate.tables == with_template_options(cell.tables)

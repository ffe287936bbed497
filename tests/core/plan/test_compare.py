"""What comes first, what never appears, and what a candidate tells to write."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, refusals
from stoker.matrix import Classes, Matrix, with_folder
from stoker.plan.architecture import read_architecture
from stoker.plan.compare import compare
from stoker.plan.cost import Interruptions
from stoker.plan.facts import Facts
from stoker.plan.gpus import Gpu, find_gpu
from stoker.plan.memory import MemoryEstimate
from stoker.plan.models import find_model_config
from stoker.plan.prices import load_prices
from stoker.plan.ranking import Candidate
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.strategies import STRATEGY_AXES, Question
from stoker.plan.time import Load
from stoker.plan.trained import trained_set
from stoker.registry import installed_plugins, load_plugin_class, make_plugins

LLAMA = read_architecture(find_model_config("llama-3-8b"))
H100, A100, RTX = find_gpu("h100-80gb"), find_gpu("a100-80gb"), find_gpu("rtx-4090")


def memory_of(situation: Situation, facts: Facts) -> MemoryEstimate:
    """Weights, states and a megabyte for a token, half of it with checkpointing."""
    trained = trained_set(situation.architecture, facts).elements
    sharding = facts.sharding
    states = 0 if sharding.optimizer_on == "host" else 12 * trained / sharding.states_over
    each = 1e6 if facts.checkpointing.mode == "none" else 1e5
    parts = {
        "weights": 2.0 * situation.architecture.num_parameters / sharding.weights_over,
        "optimizer": states,
        "activations": each * situation.micro_batch.tokens,
    }
    return MemoryEstimate({"backward": parts}, 5e8, 1.05, situation.gpu.memory_bytes)


def question(**changes: Any) -> Question:
    asked = Question(
        architecture=LLAMA,
        precision="bf16_mixed",
        batch_size=64,
        micro_batch=lambda rows, ranks: MicroBatch(rows, 2048, rows * 2048, 2048),
        load=Load(steps=100),
        gpus=(H100, A100),
        counts=(1, 2, 4, 8, 16),
    )
    return replace(asked, **changes)


@pytest.fixture
def priced(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "prices.toml"
    rows = [("h100-80gb", 4.0, 1.0), ("a100-80gb", 1.0, 0.5)]
    file.write_text(
        "\n".join(
            f'[[prices]]\nprovider = "mine"\ngpu = "{gpu}"\nas_of = 2026-11-01\n'
            f"on_demand = {usd}\nspot = {spot}"
            for gpu, usd, spot in rows
        )
    )
    return {"prices": load_prices(file, own=tmp_path / "none.toml"), "provider": "mine"}


def test_everything_that_is_listed_fits_and_keeps_the_batch(classes: Classes) -> None:
    found = compare(question(), classes, memory_of)
    assert found.candidates
    for candidate in found.candidates:
        assert candidate.fits
        assert candidate.memory.total <= candidate.gpu.memory_bytes
        assert candidate.micro_batch_rows * candidate.accumulation * candidate.gpus == 64
    assert found.considered == found.too_large + len(found.candidates)


def test_the_micro_batch_is_the_largest_that_fits(classes: Classes) -> None:
    for candidate in compare(question(), classes, memory_of).candidates:
        larger = [
            rows
            for rows in range(candidate.micro_batch_rows + 1, 65)
            if 64 % (rows * candidate.gpus) == 0
        ]
        if larger:
            per_token = 1e6 if candidate.values["checkpointing"] == "none" else 1e5
            more = (larger[0] - candidate.micro_batch_rows) * 2048 * per_token * 1.05
            assert candidate.memory.total + more > candidate.gpu.memory_bytes


def test_by_time_the_fastest_is_first_and_marked(classes: Classes) -> None:
    candidates = compare(question(), classes, memory_of, by="time").candidates
    hours = [candidate.hours for candidate in candidates]
    assert hours == sorted(hours)
    assert candidates[0].is_fastest


def test_by_cost_the_cheapest_is_first_and_those_without_a_price_are_last(
    classes: Classes, priced: dict[str, Any]
) -> None:
    asked = question(gpus=(H100, A100, find_gpu("h200-141gb")), **priced)
    candidates = compare(asked, classes, memory_of).candidates
    dollars = [math.inf if each.usd is None else each.usd for each in candidates]
    assert dollars == sorted(dollars)
    assert candidates[0].is_cheapest
    assert candidates[0].gpu == A100
    assert candidates[-1].gpu.name == "h200-141gb"
    assert "no price is known for h200-141gb" in compare(asked, classes, memory_of).notes[0]


def test_the_front_is_what_nothing_beats_on_both(classes: Classes, priced: dict[str, Any]) -> None:
    candidates = compare(question(**priced), classes, memory_of).candidates

    def beats(one: Candidate, other: Candidate) -> bool:
        assert one.usd is not None
        assert other.usd is not None
        return (one.usd, one.hours) != (other.usd, other.hours) and (
            one.usd <= other.usd and one.hours <= other.hours
        )

    for candidate in candidates:
        is_beaten = any(beats(other, candidate) for other in candidates)
        assert not (candidate.on_front and is_beaten)
        assert candidate.on_front or is_beaten
    assert any(candidate.is_cheapest and candidate.on_front for candidate in candidates)


def test_refused_combinations_never_appear(classes: Classes) -> None:
    found = compare(question(), classes, memory_of)
    for candidate in found.candidates:
        assert not list(refusals(classes, candidate.values))
    assert any("does not like that" in reason for reason in found.refused)


def test_what_needs_cuda_is_not_offered_to_a_processor(classes: Classes) -> None:
    small = read_architecture(find_model_config("smollm2-135m"))
    found = compare(question(architecture=small, gpus=(find_gpu("cpu"),)), classes, memory_of)
    assert found.candidates
    assert all(candidate.values["engine"] != "only-cuda" for candidate in found.candidates)


def test_strategies_that_come_to_the_same_are_listed_once_in_their_plainest_form(
    classes: Classes,
) -> None:
    alone = compare(question(counts=(1,), gpus=(find_gpu("b200-180gb"),)), classes, memory_of).candidates
    seen = [(each.memory.total, each.micro_batch_rows, each.hours, each.tables) for each in alone]
    assert len({str(each) for each in seen}) == len(seen)
    assert any(candidate.tables == {} for candidate in alone)


def test_a_recipes_own_options_stay_and_its_strategy_does_not(classes: Classes) -> None:
    tables = {"low_rank": {"rank": 4}, "split": {"what": "states", "on_host": True}}
    candidates = compare(question(tables=tables), classes, memory_of).candidates
    assert all(candidate.tables["low_rank"] == {"rank": 4} for candidate in candidates)
    plain = next(candidate for candidate in candidates if candidate.values["engine"] == "default")
    assert "split" not in plain.tables
    sharded = next(
        candidate
        for candidate in candidates
        if candidate.values == {"engine": "split-all", "offload": "none", "checkpointing": "none"}
    )
    assert sharded.tables["split"] == {"what": "all"}


def test_methods_are_compared_only_where_that_is_asked_for(classes: Classes) -> None:
    same = compare(question(), classes, memory_of)
    assert all(set(candidate.values) == set(STRATEGY_AXES) for candidate in same.candidates)
    assert all("low_rank" not in candidate.tables for candidate in same.candidates)
    both = compare(question(compares_methods=True), classes, memory_of)
    assert {candidate.values["method"] for candidate in both.candidates} == {"full", "low_rank"}
    assert "do not train the same thing" in both.notes[0]


def test_a_candidate_says_what_to_write(classes: Classes) -> None:
    candidates = compare(question(counts=(16,)), classes, memory_of, by="time").candidates
    assert candidates[0].changes["launch"] == {"gpus_per_node": 8, "nodes": 2}
    assert candidates[0].changes["train"] == {"micro_batch_size": candidates[0].micro_batch_rows}
    assert candidates[0].changes["plugins"] == candidates[0].tables


def test_spot_prices_are_compared_where_interruptions_are_expected(
    classes: Classes, priced: dict[str, Any]
) -> None:
    faults = Interruptions(mean_seconds=6 * 3600, commit_seconds=60)
    without = compare(question(**priced), classes, memory_of).candidates[0]
    found = compare(question(interruptions=faults, **priced), classes, memory_of).candidates[0]
    assert without.usd is not None
    assert found.usd is not None
    assert found.usd < without.usd
    assert found.cost is not None
    assert found.cost.spot_usd is not None


def test_where_nothing_fits_the_list_is_empty_and_says_how_many_were_tried(classes: Classes) -> None:
    large = read_architecture(find_model_config("llama-3-70b"))
    found = compare(question(architecture=large, gpus=(RTX,), counts=(1,)), classes, memory_of)
    assert found.candidates == ()
    assert found.too_large == found.considered > 0


def test_no_rank_is_left_idle(classes: Classes) -> None:
    found = compare(question(batch_size=4), classes, memory_of)
    assert max(candidate.gpus for candidate in found.candidates) == 4


def test_a_slow_link_changes_the_order(classes: Classes) -> None:
    def best(gpu: Gpu) -> str:
        asked = question(gpus=(gpu,), counts=(8,))
        return compare(asked, classes, memory_of, by="time").candidates[0].values["engine"]

    roomy = replace(H100, memory_bytes=1e12)
    slow = replace(roomy, link_bandwidth=1e9, host_bandwidth=1e9)
    assert best(slow) != "split-all"
    assert Choice("engine", best(roomy)).value in {"default", "split-states", "split-all", "only-cuda"}


def test_a_gpu_without_the_precisions_dtype_is_left_out_and_named(classes: Classes) -> None:
    found = compare(question(gpus=(H100, find_gpu("v100-32gb"))), classes, memory_of)
    assert {candidate.gpu.name for candidate in found.candidates} == {"h100-80gb"}
    assert any("v100-32gb have no bf16" in reason for reason in found.refused)
    other = compare(question(gpus=(find_gpu("v100-32gb"),), precision="fp16_mixed"), classes, memory_of)
    assert other.candidates


def test_facts_that_depend_on_the_micro_batch_are_asked_for_each_of_them() -> None:
    class Counting(Plugin[PluginConfig]):
        """Takes a buffer for each row."""

        choices = (Choice("checkpointing", "full"),)

        @hookimpl
        def collect_estimates(self, situation: Situation) -> dict[str, Any]:
            return {"buffers.rows": float(situation.micro_batch.rows)}

    def memory(situation: Situation, facts: Facts) -> MemoryEstimate:
        assert facts.buffers.get("rows", situation.micro_batch.rows) == situation.micro_batch.rows
        return memory_of(situation, facts)

    asked = question(gpus=(find_gpu("b200-180gb"),))
    assert compare(asked, {"again": Counting}, memory).candidates


def test_the_installed_plugins_bring_strategies_that_the_matrix_allows(tmp_path: Path) -> None:
    installed = {name: load_plugin_class(name) for name in installed_plugins()}
    tables = {"lora": {"rank": 8}, "packing": {}}
    asked = question(tables=tables, gpus=(A100,), counts=(8,))
    found = compare(asked, installed, memory_of)
    matrix = Matrix(installed)
    assert len({candidate.values["engine"] for candidate in found.candidates}) > 5
    for candidate in found.candidates:
        assert matrix.cell({**candidate.values, "method": "lora"}).verdict != "refused"
        assert candidate.tables["lora"] == {"rank": 8}
        assert candidate.tables["packing"] == {}
        written = {name: with_folder(table, str(tmp_path)) for name, table in candidate.tables.items()}
        assert make_plugins(written)
    on_disk = [each for each in found.candidates if each.values["offload"] == "nvme"]
    assert on_disk
    assert on_disk[0].to_fill_in == ["plugins.zero.nvme_path"]

"""`--profile seed` gives every number of the guide, within 1 GB or 3 %."""

from __future__ import annotations

import pytest

from stoker.plan import seed
from stoker.plan.guide import GUIDE, Bounds


def close(found: float, stated: float) -> bool:
    return abs(found - stated) <= max(0.03 * abs(stated), 0.0)


def close_gb(found: float, stated: float) -> bool:
    return abs(found - stated) <= 1.0 or close(found, stated)


def close_span(found: Bounds, stated: Bounds) -> bool:
    return close(found.low, stated.low) and close(found.high, stated.high)


B = 1e9


def test_the_memory_table_of_7b() -> None:
    assert seed.components_gb(7 * B) == {"weights": 14.0, "gradients": 14.0, "optimizer": 56.0}
    assert seed.total_gb(7 * B) == GUIDE.total_7b_gb == (86, 100)
    assert seed.components_gb(7 * B)["optimizer"] == 4 * seed.components_gb(7 * B)["weights"]


@pytest.mark.parametrize(("stage", "stated"), [(1, 35.0), (2, 22.75), (3, 10.5)])
def test_zero_divides_7b_among_8_gpus(stage: int, stated: float) -> None:
    assert seed.per_gpu_gb(7 * B, "full", f"zero-{stage}", 8) == stated
    assert seed.components_gb(7 * B, "full", f"zero-{stage}", 8)["optimizer"] == 7


@pytest.mark.parametrize("rounded", [("zero-1", 35), ("zero-2", 23), ("zero-3", 11)])
def test_zero_rows_as_they_are_rounded(rounded: tuple[str, float]) -> None:
    engine, stated = rounded
    assert close_gb(seed.per_gpu_gb(7 * B, "full", engine, 8), stated)


@pytest.mark.parametrize(
    ("strategy", "stage"),
    [
        ("fsdp-full_shard", "zero-3"),
        ("fsdp-shard_grad_op", "zero-2"),
        ("fsdp-no_shard", "default"),
    ],
)
def test_each_fsdp_strategy_is_like_a_stage(strategy: str, stage: str) -> None:
    assert seed.components_gb(7 * B, "full", strategy, 8) == seed.components_gb(7 * B, "full", stage, 8)


@pytest.mark.parametrize(("size", "stated"), [("8b", 90), ("70b", 800), ("405b", 4600)])
def test_larger_models_in_the_unit_that_the_guide_has_there(size: str, stated: float) -> None:
    assert close_gb(seed.state_gib(GUIDE.sizes[size].parameters), stated)


@pytest.mark.parametrize(("size", "gpus"), [("8b", 2), ("70b", 16), ("405b", 64)])
def test_gpus_of_80_gb_for_larger_models(size: str, gpus: int) -> None:
    states = GUIDE.sizes[size].parameters * 12 / B
    assert seed.gpus_for(states, 80) == gpus == GUIDE.sizes[size].gpus


def test_gpus_for_7b_are_the_upper_of_those_it_gives() -> None:
    for gpu, stated in GUIDE.gpus_7b.items():
        needed = [seed.gpus_for(gb, GUIDE.gpu_gb[gpu]) for gb in GUIDE.total_7b_gb]
        assert needed == [stated.high, stated.high]


def test_the_effective_batch() -> None:
    assert seed.effective_batch(micro_batch=2, gpus=4, accumulation=4) == 32


@pytest.mark.parametrize(
    ("row", "usd"),
    [(0, Bounds(24, 96)), (1, Bounds(1.5, 6)), (2, Bounds(288, 1152))],
    ids=["8b full", "8b lora", "70b full"],
)
def test_cost_is_hours_by_gpus_by_price(row: int, usd: Bounds) -> None:
    assert close_span(seed.row_cost_usd(GUIDE.rows[row]), usd)


def test_only_lora_costs_less_than_the_guide_says_at_its_lower_end() -> None:
    full, lora, large = GUIDE.rows
    assert close_span(seed.row_cost_usd(full), full.usd)
    assert close_span(seed.row_cost_usd(large), large.usd)
    assert close(seed.row_cost_usd(lora).high, lora.usd.high)
    assert not close(seed.row_cost_usd(lora).low, lora.usd.low)


@pytest.mark.parametrize("row", GUIDE.rows, ids=lambda row: f"{row.size} {row.method}")
def test_hours_of_its_rows(row) -> None:
    assert seed.hours(row.method, GUIDE.sizes[row.size].parameters, row.gpus) == row.hours


def test_hours_are_shared_out_and_grow_with_examples_and_parameters() -> None:
    assert seed.hours("full", 8 * B, 8) == (2, 4)
    assert seed.hours("full", 8 * B, 4, examples=20_000) == (8, 16)
    assert seed.hours("lora", 16 * B, 1) == (2, 4)


def test_prices_of_an_hour() -> None:
    assert {name: tuple(price) for name, price in GUIDE.prices.items()} == {
        "a100-80gb": (1.5, 3.0),
        "h100-80gb": (2.5, 4.0),
        "a100-40gb": (1.0, 2.0),
        "l40s-48gb": (1.0, 1.5),
        "rtx-4090": (0.4, 0.8),
    }
    assert seed.cost_usd(Bounds(1, 1), 8, GUIDE.prices["h100-80gb"]) == (20, 32)


def test_spot_is_half_to_seven_tenths_cheaper() -> None:
    usd = seed.spot_usd(Bounds(100, 100))
    assert usd == pytest.approx((30, 50))


def test_checkpointing_leaves_a_third_of_activations() -> None:
    assert seed.checkpointed_gb(16) == pytest.approx((4.8, 6.4))
    # Forward once more: 4 thirds of the compute of forward and backward.
    assert GUIDE.checkpointing_compute == pytest.approx(1 / 3, abs=0.04)


def test_an_adapter_of_rank_16_is_in_the_guide_s_range() -> None:
    # Llama 3 8B: inputs and outputs of the seven linear layers of each of 32 blocks.
    sides = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336)
    share = 16 * sides * 32 / 8.03e9
    assert GUIDE.adapter_share.low <= share <= GUIDE.adapter_share.high


def test_what_techniques_do_to_ten_hours() -> None:
    hours = Bounds(10, 10)
    assert seed.with_flash_attention(hours) == pytest.approx((10 / 1.4, 10 / 1.2))
    assert seed.with_offload(hours) == (30, 100)
    assert seed.with_adapter(hours) == (2, 5)
    assert seed.with_checkpointing(hours) == pytest.approx((13, 13))


def test_ranges_that_nothing_follows_from() -> None:
    assert GUIDE.full_gain == (0.02, 0.05)
    assert GUIDE.ladder_usd == {"qlora": (2, 5), "lora": (5, 20), "full": (50, 100)}


# Without activations: what the cheat sheet promises, and whether the guide's own bytes agree.
CHEAT_SHEET = [
    (1, 24, "qlora", "8b", "default", True),
    (1, 24, "qlora", "70b", "default", False),
    (1, 24, "lora", "8b", "default", True),
    (1, 80, "lora", "8b", "default", True),
    (1, 80, "lora", "70b", "default", False),
    (1, 80, "full", "8b", "default", False),
    (2, 80, "full", "8b", "zero-2", True),
    (4, 80, "full", "8b", "zero-2", True),
    (8, 80, "full", "8b", "zero-2", True),
    (8, 80, "full", "70b", "zero-3", False),
    (16, 80, "full", "70b", "zero-3", True),
]


@pytest.mark.parametrize(("gpus", "gpu_gb", "method", "size", "engine", "holds"), CHEAT_SHEET)
def test_lines_of_the_cheat_sheet(
    gpus: int, gpu_gb: float, method: str, size: str, engine: str, holds: bool
) -> None:
    need = seed.per_gpu_gb(GUIDE.sizes[size].parameters, method, engine, gpus)
    assert (need <= gpu_gb) is holds


def test_the_test_has_every_line_of_the_cheat_sheet() -> None:
    lines = [(o.gpus, o.gpu_gb, o.method, o.size, o.engine) for o in GUIDE.cheat_sheet]
    assert lines == [line[:5] for line in CHEAT_SHEET]

"""However the rows of a step are cut and dealt, the gradient is the same."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WORK = Path(__file__).with_name("gradient_work.py")
spec = importlib.util.spec_from_file_location("gradient_work", WORK)
assert spec is not None
assert spec.loader is not None
work: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(work)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gradients")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=9),
    seed=st.integers(0, 2**31),
    micro_batch_size=st.integers(1, 5),
    world_size=st.sampled_from([1, 2, 3]),
    packed=st.booleans(),
)
def test_every_split_over_micro_batches_and_ranks_gives_the_same_gradient(
    folder: Path,
    rank_pool: Callable[[int], Any],
    lengths: list[int],
    seed: int,
    micro_batch_size: int,
    world_size: int,
    packed: bool,
) -> None:
    """Against all rows padded in one batch on one rank; float32, no dropout, 1e-6 of the norm.

    `packed`: bins of as many tokens as the largest of the padded micro-batches.
    """
    whole = work.gradient(str(folder), lengths, seed, len(lengths))
    arguments = {
        "lengths": lengths,
        "seed": seed,
        "micro_batch_size": micro_batch_size,
        "packed": packed,
    }
    if world_size == 1:
        split = work.gradient(str(folder), **arguments)
    else:
        call = rank_pool(world_size).call
        split = call(f"{WORK}:gradient_on_ranks", folder=str(folder), **arguments)[0]
    assert work.relative_difference(whole, Path(split)) < 1e-6


def test_two_ranks_name_a_tensor_outside_the_graph_instead_of_waiting_for_it(
    folder: Path, rank_pool: Callable[[int], Any]
) -> None:
    """DDP itself would end in the next step with the number of the parameter."""
    said = rank_pool(2).call(f"{WORK}:dead_weight", folder=str(folder))
    assert said == ["1 of 21 trainable tensors take no part in the loss: dead."] * 2

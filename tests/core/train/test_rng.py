"""Random numbers depend on what they are for, and on nothing else."""

from __future__ import annotations

import torch

from stoker.train.rng import derive_seed, generator_for, seed_micro_batch

CPU = torch.device("cpu")


def dropout(seed: int, step: int, micro_batch: int) -> list[float]:
    seed_micro_batch(seed, step, micro_batch, CPU)
    return torch.nn.functional.dropout(torch.ones(64)).tolist()


def test_dropout_of_a_micro_batch_does_not_depend_on_what_ran_before() -> None:
    first = dropout(0, 5, 3)
    torch.rand(1000)
    assert dropout(0, 5, 3) == first


def test_each_seed_step_and_micro_batch_has_its_own() -> None:
    keys = [(seed, step, batch) for seed in range(3) for step in range(4) for batch in range(5)]
    assert len({tuple(dropout(*key)) for key in keys}) == len(keys)


def test_keys_with_the_same_letters_differ() -> None:
    assert derive_seed(1, "a", 23) != derive_seed(1, "a", 2, 3)
    assert derive_seed(1, "parameter", "x") != derive_seed(1, "micro-batch", "x")


def test_a_parameter_has_a_generator_of_its_own() -> None:
    assert torch.equal(
        torch.rand(4, generator=generator_for(0, "a")), torch.rand(4, generator=generator_for(0, "a"))
    )


def test_seeding_leaves_nothing_behind() -> None:
    """`torch.manual_seed` would queue a call for every device that was never used, at every step."""
    queued = len(torch.cuda._queued_calls)
    for step in range(50):
        seed_micro_batch(0, step, 0, CPU)
    assert len(torch.cuda._queued_calls) == queued

"""Random numbers keyed by what they are for, so that no generator state is ever saved."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *key: int | str) -> int:
    """A 63-bit seed from the run's seed and a key; equal on every machine and rank."""
    text = "/".join(str(part) for part in (seed, *key))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_micro_batch(seed: int, step: int, micro_batch: int, device: torch.device) -> None:
    """Seed dropout for a micro-batch by its global index: independent of rank and of history.

    Only the generators that a forward on `device` uses. `torch.manual_seed` also queues a call with
    a stack trace for every kind of device that was never initialised, more of them with every step.
    """
    value = derive_seed(seed, "micro-batch", step, micro_batch)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


def generator_for(seed: int, name: str) -> torch.Generator:
    """A CPU generator keyed by a parameter's name."""
    return torch.Generator().manual_seed(derive_seed(seed, "parameter", name))

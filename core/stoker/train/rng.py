"""Random numbers keyed by what they are for, so that no generator state is ever saved."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *key: int | str) -> int:
    """A 63-bit seed from the run's seed and a key; equal on every machine and rank."""
    text = "/".join(str(part) for part in (seed, *key))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_micro_batch(seed: int, step: int, micro_batch: int) -> None:
    """Seed dropout for a micro-batch by its global index: independent of rank and of history."""
    torch.manual_seed(derive_seed(seed, "micro-batch", step, micro_batch))


def generator_for(seed: int, name: str) -> torch.Generator:
    """A CPU generator keyed by a parameter's name."""
    return torch.Generator().manual_seed(derive_seed(seed, "parameter", name))

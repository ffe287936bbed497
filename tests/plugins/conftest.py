"""What tests of several plugins share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def engines() -> tuple[str, ...]:
    """Every engine that must be there: the default one first, then FSDP's, then ZeRO's."""
    fsdp = ("full_shard", "shard_grad_op", "hybrid_shard", "no_shard")
    return ("default", *(f"fsdp-{name}" for name in fsdp), "zero-1", "zero-2", "zero-3")

"""What `stoker calibrate` measured of this machine's GPU, or of its processor. Torch-free."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from stoker.cache import cache_directory
from stoker.errors import StorageError


@dataclass(frozen=True)
class MachineFacts:
    """Of one GPU."""

    gpu: str
    t: float
    """When it was measured, in Unix seconds; names the measurement."""
    matmul_flops: Mapping[str, float]
    """Operations a second of a large matrix product, by bytes of an element: `2` and `4`."""
    memory_bandwidth: float
    """Bytes a second, read and written, of a large copy."""


def facts_path(gpu: str) -> Path:
    """Where they are kept."""
    return cache_directory() / "machine" / f"{gpu}.json"


def read_machine(gpu: str) -> MachineFacts | None:
    """None where nothing was measured, or what was cannot be read."""
    try:
        return MachineFacts(**json.loads(facts_path(gpu).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_machine(facts: MachineFacts) -> None:
    """Keep a measurement in the place of the one before. Raises `StorageError`."""
    path = facts_path(facts.gpu)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(asdict(facts), indent=1) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from error

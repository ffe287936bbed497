"""GPU types: what they compute, hold and move. The numbers stand in `gpus.toml` with their sources."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import tomli

from stoker.doctor.limits import core_limit, memory_limit_bytes
from stoker.errors import UsageError
from stoker.recipe.problems import did_you_mean

CPU = "cpu"

_SAME_MEMORY = 0.12
"""Drivers count reserved memory and ECC differently; sizes of one name differ by a quarter and more."""
_CORE_FLOPS = 5e10
_CPU_BANDWIDTH = 1e10
"""Of a core with AVX2 in fp32 and of a memory channel: orders of magnitude until they are measured."""
_MAKERS = re.compile(r"\b(nvidia|tesla|amd|instinct|oam)\b")


@dataclass(frozen=True)
class Gpu:
    """One type of GPU."""

    name: str
    bf16_flops: float
    """Dense matrix products a second in half precision, by the data sheet; of fp16 without bf16."""
    memory_bytes: float
    """What CUDA offers a process, its own context included: less than nvidia-smi and the name say."""
    memory_bandwidth: float
    """Bytes a second."""
    link_bandwidth: float
    """Bytes a second to another GPU of the node, in one direction."""
    network_bandwidth: float
    """Bytes a second to another node, for each GPU."""
    watts: float
    has_bf16: bool = True
    fp32_flops: float = 0.0
    peer_to_peer: bool = True
    host_bandwidth: float = 32e9
    """Bytes a second to host memory, in one direction."""


@cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    table = tomli.loads(files("stoker.plan").joinpath("gpus.toml").read_text("utf-8"))
    entries: Mapping[str, Mapping[str, Any]] = table["gpus"]
    return entries


@cache
def known_gpus() -> Mapping[str, Gpu]:
    """All types of the table, by name."""
    return {name: _gpu(name, entry) for name, entry in _entries().items()}


def _gpu(name: str, entry: Mapping[str, Any]) -> Gpu:
    return Gpu(
        name=name,
        bf16_flops=entry["bf16_tflops"] * 1e12,
        memory_bytes=entry["usable_gib"] * 2**30,
        memory_bandwidth=entry["memory_gbs"] * 1e9,
        link_bandwidth=entry["link_gbs"] * 1e9,
        network_bandwidth=entry["network_gbs"] * 1e9,
        watts=entry["watts"],
        has_bf16=entry.get("bf16", True),
        fp32_flops=entry["fp32_tflops"] * 1e12,
        peer_to_peer=entry.get("peer_to_peer", True),
        host_bandwidth=entry["host_gbs"] * 1e9,
    )


def find_gpu(name: str) -> Gpu:
    """The type of that name, whatever its case; `cpu` is this machine.

    The size may be left out where it leaves no doubt (`h200`, `t4`). Raises `UsageError` with the
    nearest names.
    """
    wanted = re.sub(r"[\s_]+", "-", name.strip().lower())
    if wanted == CPU:
        return this_machine()
    known = known_gpus()
    if wanted in known:
        return known[wanted]
    sizes = [each for each in known if re.fullmatch(rf"{re.escape(wanted)}-\d+gb", each)]
    if len(sizes) == 1:
        return known[sizes[0]]
    if sizes:
        raise UsageError(f"GPU {name!r} may be {' or '.join(sizes)}.", hint="Name one of them.")
    raise UsageError(
        f"no GPU {name!r} is known. {did_you_mean(wanted, known)}".rstrip(),
        hint=f"Known are {', '.join((*known, CPU))}.",
    )


def recognise(driver_name: str, memory_bytes: int) -> Gpu | None:
    """The type that a driver calls `driver_name` ("NVIDIA A100-SXM4-80GB"); None where none is known.

    A bare name ("A100", "Tesla V100") is decided by the memory that the driver reports.
    """
    wanted = _spelling(driver_name)
    entries = _entries()
    exact = [
        name for name, entry in entries.items() if wanted in map(_spelling, entry.get("drivers", ()))
    ]
    sizes = [name for name in entries if re.fullmatch(rf"{re.escape(wanted)}-\d+gb", name)]
    for name in exact or sizes:
        gpu = known_gpus()[name]
        if abs(memory_bytes / gpu.memory_bytes - 1) <= _SAME_MEMORY:
            return gpu
    return None


def _spelling(driver_name: str) -> str:
    return re.sub(r"[\s_-]+", "-", _MAKERS.sub(" ", driver_name.lower())).strip("-")


def this_machine() -> Gpu:
    """The CPU as a device: all memory of this machine or container; speeds are rough until measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = min(os.cpu_count() or 1, core_limit() or float("inf"))
    return Gpu(
        name=CPU,
        bf16_flops=cores * _CORE_FLOPS,
        memory_bytes=float(min(memory, memory_limit_bytes() or memory)),
        memory_bandwidth=_CPU_BANDWIDTH,
        link_bandwidth=_CPU_BANDWIDTH,
        network_bandwidth=1.25e9,
        watts=0.0,
        fp32_flops=cores * _CORE_FLOPS,
        host_bandwidth=_CPU_BANDWIDTH,
    )

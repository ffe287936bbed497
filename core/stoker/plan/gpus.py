"""GPU types: what they compute, hold and move. The numbers stand in `gpus.toml` with their sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One type of GPU."""

    name: str
    bf16_flops: float
    """Dense matrix products a second in half precision, by the data sheet; of fp16 without bf16."""
    memory_bytes: float
    """What a process may use before its own context, by nvidia-smi: less than the name says."""
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

"""What the guide states, as data: chapter 5 of a course on fine-tuning, read in November 2026.

The guide is what `--profile seed` reproduces. Here is only what it says, in its own units: sizes are
nominal (7B is 7.0e9 parameters), GB are decimal unless a field says otherwise, hours are wall hours
and prices are US dollars for one GPU and hour of 2024 and 2025. `seed.py` does its arithmetic, and
`seed_findings.py` lists where two of its statements exclude each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Bounds(NamedTuple):
    """A range, both ends included."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Half way."""
        return (self.low + self.high) / 2

    def times(self, other: Bounds | float) -> Bounds:
        """The product of two positive ranges, or of a range and a positive number."""
        if isinstance(other, Bounds):
            return Bounds(self.low * other.low, self.high * other.high)
        return Bounds(self.low * other, self.high * other)


@dataclass(frozen=True)
class Size:
    """A row of the guide's scaling table."""

    parameters: float
    total: float
    """All that full fine-tuning needs, as printed after `~`, in the unit printed as GB."""
    gpus: int
    """A100 with 80 GB."""


@dataclass(frozen=True)
class Row:
    """A row of its time estimates: 10,000 examples, 3 epochs, on A100 with 80 GB."""

    method: str
    size: str
    hours: Bounds
    gpus: int
    usd: Bounds


@dataclass(frozen=True)
class Offer:
    """What its cheat sheet says can be trained on so many GPUs; memory of each in GB."""

    gpus: int
    gpu_gb: float
    method: str
    size: str
    engine: str = "default"


_SIZES = {
    "7b": Size(7.0e9, 0.0, 0),
    "8b": Size(8.0e9, 90.0, 2),
    "70b": Size(70.0e9, 800.0, 16),
    "405b": Size(405.0e9, 4600.0, 64),
}
_PRICES = {
    "a100-80gb": Bounds(1.50, 3.00),
    "h100-80gb": Bounds(2.50, 4.00),
    "a100-40gb": Bounds(1.00, 2.00),
    "l40s-48gb": Bounds(1.00, 1.50),
    "rtx-4090": Bounds(0.40, 0.80),
}
_GPU_GB = {
    "a100-80gb": 80.0,
    "h100-80gb": 80.0,
    "a100-40gb": 40.0,
    "l40s-48gb": 48.0,
    "rtx-4090": 24.0,
}
_ROWS = (
    Row("full", "8b", Bounds(4, 8), 4, Bounds(24, 96)),
    Row("lora", "8b", Bounds(1, 2), 1, Bounds(3, 6)),
    Row("full", "70b", Bounds(24, 48), 8, Bounds(288, 1152)),
)
_CHEAT_SHEET = (
    Offer(1, 24, "qlora", "8b"),
    Offer(1, 24, "qlora", "70b"),
    Offer(1, 24, "lora", "8b"),
    Offer(1, 80, "lora", "8b"),
    Offer(1, 80, "lora", "70b"),
    Offer(1, 80, "full", "8b"),
    Offer(2, 80, "full", "8b", "zero-2"),
    Offer(4, 80, "full", "8b", "zero-2"),
    Offer(8, 80, "full", "8b", "zero-2"),
    Offer(8, 80, "full", "70b", "zero-3"),
    Offer(16, 80, "full", "70b", "zero-3"),
)


@dataclass(frozen=True)
class Guide:
    """All numbers of the guide. Another instance answers what would follow if it said something else."""

    # Memory, bytes per parameter and GB.
    weight_bytes: float
    gradient_bytes: float
    moment_bytes: float
    moments: int
    master_bytes: float
    """Its table has no float32 copy of the weights, though its recipe updates them in float32."""
    qlora_bytes: float
    """Of a weight in 4 bits, without scales."""
    adapter_share: Bounds
    activations_gb: Bounds
    """Of a 7B model; 8 to 16 with 4 rows of 2,048 tokens."""
    total_7b_gb: Bounds
    gpus_7b: Mapping[str, Bounds]
    gpus_7b_when: Bounds
    """What its first section says full fine-tuning of 7B needs."""
    single_gpu_holds_7b: bool
    sizes: Mapping[str, Size]
    gpus_per_node: int
    # Techniques.
    checkpointing_saves: Bounds
    """Of activation memory."""
    checkpointing_compute: float
    baseline_saves: Bounds
    """Of all memory, by checkpointing, bf16 and FlashAttention together."""
    flash_speedup: Bounds
    offload_slowdown: Bounds
    lora_speedup: Bounds
    full_gain: Bounds
    """In quality, of full fine-tuning over LoRA under a large domain shift."""
    # Cost.
    prices: Mapping[str, Bounds]
    gpu_gb: Mapping[str, float]
    spot_saves: Bounds
    rows: tuple[Row, ...]
    row_examples: int
    row_epochs: int
    ladder_usd: Mapping[str, Bounds]
    """Of an 8B model, from prototype to full fine-tuning."""
    full_tip_usd: float
    """What its tips put at the upper end of full fine-tuning, with a plus."""
    # Decisions.
    few_examples: int
    many_examples: int
    tree_gpus: int
    """A100s from which its decision tree considers full fine-tuning."""
    cheat_sheet: tuple[Offer, ...]


GUIDE = Guide(
    weight_bytes=2.0,
    gradient_bytes=2.0,
    moment_bytes=4.0,
    moments=2,
    master_bytes=0.0,
    qlora_bytes=0.5,
    adapter_share=Bounds(0.001, 0.01),
    activations_gb=Bounds(2, 16),
    total_7b_gb=Bounds(86, 100),
    gpus_7b={"a100-40gb": Bounds(2, 3), "a100-80gb": Bounds(1, 2)},
    gpus_7b_when=Bounds(4, 8),
    single_gpu_holds_7b=False,
    sizes=_SIZES,
    gpus_per_node=8,
    checkpointing_saves=Bounds(0.60, 0.70),
    checkpointing_compute=0.30,
    baseline_saves=Bounds(0.50, 0.70),
    flash_speedup=Bounds(0.20, 0.40),
    offload_slowdown=Bounds(3, 10),
    lora_speedup=Bounds(2, 5),
    full_gain=Bounds(0.02, 0.05),
    prices=_PRICES,
    gpu_gb=_GPU_GB,
    spot_saves=Bounds(0.50, 0.70),
    rows=_ROWS,
    row_examples=10_000,
    row_epochs=3,
    ladder_usd={"qlora": Bounds(2, 5), "lora": Bounds(5, 20), "full": Bounds(50, 100)},
    full_tip_usd=500.0,
    few_examples=50_000,
    many_examples=100_000,
    tree_gpus=4,
    cheat_sheet=_CHEAT_SHEET,
)

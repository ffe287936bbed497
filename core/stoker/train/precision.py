"""Precision regimes: which dtype weights, compute and optimizer state have.

Bytes per trainable parameter for weights + gradients + AdamW states under engines that keep the
regime as it stands (default, fsdp): `bf16` 2+2+4, `bf16_fp32_states` 2+2+8, `bf16_mixed`,
`fp16_mixed` and `fp32` 4+4+8. Frozen parameters are kept in the compute dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stoker.errors import MissingRequirementError


@dataclass(frozen=True)
class Regime:
    """Four dtypes and whether the loss is scaled. Gradients have the master dtype."""

    name: str
    master: torch.dtype
    """Weights that the optimizer updates, and their gradients and their reduction."""
    compute: torch.dtype
    """Matrix products, activations and frozen weights."""
    state: torch.dtype
    """AdamW's moments."""
    scales_loss: bool = False

    @property
    def autocasts(self) -> bool:
        """True where weights are cast for compute."""
        return self.master != self.compute


REGIMES = {
    regime.name: regime
    for regime in (
        Regime("bf16", torch.bfloat16, torch.bfloat16, torch.bfloat16),
        Regime("bf16_fp32_states", torch.bfloat16, torch.bfloat16, torch.float32),
        Regime("bf16_mixed", torch.float32, torch.bfloat16, torch.float32),
        Regime("fp16_mixed", torch.float32, torch.float16, torch.float32, scales_loss=True),
        Regime("fp32", torch.float32, torch.float32, torch.float32),
    )
}


def regime_for(name: str, device: torch.device) -> Regime:
    """The regime a recipe names, or `MissingRequirementError` where the device cannot run it."""
    regime = REGIMES[name]
    if regime.compute == torch.bfloat16 and not _has_bfloat16(device):
        raise MissingRequirementError(
            f"train.precision is {name!r}, but {torch.cuda.get_device_name(device)} has no bfloat16.",
            hint="Set train.precision to 'fp16_mixed' or 'fp32'.",
        )
    return regime


def _has_bfloat16(device: torch.device) -> bool:
    # CPUs without instructions for it compute the same in software; only old GPUs lack it.
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)

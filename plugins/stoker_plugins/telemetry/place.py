"""Which GPU of its host a rank computes on."""

from __future__ import annotations

import torch

from stoker_plugins.telemetry.gpus import find_index


def gpu_index(device: torch.device) -> int | None:
    """Its number in the driver's order, which CUDA_VISIBLE_DEVICES does not change.

    None for a device that is no CUDA one, or that the driver does not tell, such as a part of a GPU.
    """
    if device.type != "cuda":
        return None
    return find_index(f"GPU-{torch.cuda.get_device_properties(device).uuid}")

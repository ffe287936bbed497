"""DeepSpeed's own configuration, from the recipe and the plugin's options."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.precision import Regime
    from stoker_plugins.zero import ZeroConfig


def deepspeed_settings(
    config: ZeroConfig,
    regime: Regime,
    *,
    micro_batch_size: int,
    largest_part_elements: int,
    swap_folder: Path | None,
) -> dict[str, Any]:
    """What `deepspeed.initialize` takes as `config`.

    `largest_part_elements`: of all weights, what one rank keeps of the largest. Clipping, schedule and
    accumulation stay with the loop: DeepSpeed is told of none.
    """
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": 1,
        # Stage 3 moves gradients to where they are used in `step`, so that all changes before count;
        # the others have to know the last micro-batch, after which gradients are complete.
        "managed_gradient_accumulation": config.stage < 3,
        "gradient_clipping": 0.0,
        # The regime says that gradients are reduced, and summed over micro-batches, in float32.
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": _zero_settings(config, largest_part_elements, swap_folder),
    }
    if regime.compute == torch.bfloat16:
        settings["bf16"] = {"enabled": True, "immediate_grad_update": True, "check_grad_overflow": True}
    others = {key: value for key, value in config.config.items() if key != "zero_optimization"}
    return settings | others


def _zero_settings(
    config: ZeroConfig, largest_part_elements: int, swap_folder: Path | None
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stage": config.stage,
        "reduce_bucket_size": config.reduce_bucket_elements,
        "allgather_bucket_size": config.allgather_bucket_elements,
        "overlap_comm": config.overlap_communication,
        "contiguous_gradients": True,
    }
    if config.stage == 3:
        settings |= {
            "sub_group_size": config.sub_group_elements,
            "stage3_prefetch_bucket_size": config.prefetch_bucket_elements,
            "stage3_param_persistence_threshold": config.persistence_threshold_elements,
        }
    if config.offload_parameters == "nvme":
        # A weight that waits for its backward would take one of the few buffers from those in use.
        settings["stage3_max_reuse_distance"] = 0
    where: dict[str, Any] = {"pin_memory": config.pin_memory}
    if swap_folder is not None:
        where["nvme_path"] = str(swap_folder)
    if config.offload_optimizer != "none":
        settings["offload_optimizer"] = {
            "device": config.offload_optimizer,
            "buffer_count": config.optimizer_buffer_count,
            **where,
        }
    if config.offload_parameters != "none":
        settings["offload_param"] = {
            "device": config.offload_parameters,
            "buffer_count": config.parameter_buffer_count,
            "buffer_size": config.parameter_buffer_elements or largest_part_elements,
            "max_in_cpu": config.parameters_in_host_elements,
            **where,
        }
    settings.update(config.config.get("zero_optimization", {}))
    return settings


def prepare_swap_folder(run: Run, config: ZeroConfig) -> Path | None:
    """This run's folder below `nvme_path`, without what an attempt that was killed left there.

    Named after the run's directory, which one attempt at a time has: no two share a folder.
    """
    if config.nvme_path is None:
        return None
    directory = run.directory.path.resolve()
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    folder = config.nvme_path.resolve() / f"stoker-{directory.name}-{digest}-rank-{run.rank}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder

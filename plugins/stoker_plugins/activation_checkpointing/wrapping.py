"""Changes the forward of blocks in place: recompute, keep what is dear, or move to host memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from stoker.train.blocks import find_blocks
from stoker_plugins.activation_checkpointing.host_memory import keep_on_host
from stoker_plugins.activation_checkpointing.selection import selective_contexts

if TYPE_CHECKING:
    from stoker_plugins.activation_checkpointing import ActivationCheckpointingConfig

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Wrapped:
    """Which blocks were changed."""

    block_class: str
    num_wrapped: int
    num_blocks: int

    def describe(self, config: ActivationCheckpointingConfig, device_type: str) -> str:
        """One sentence for a `note` event."""
        doing = {
            "full": "recomputed in backward",
            "selective": "recomputed in backward except for matrix products and attention",
            "offload": "kept in host memory for backward",
        }[config.mode]
        if config.offload_inputs:
            doing += ", from inputs in host memory"
        message = (
            f"activation checkpointing: {self.num_wrapped} of {self.num_blocks} {self.block_class} "
            f"are {doing}"
        )
        if device_type == "cpu" and (config.mode == "offload" or config.offload_inputs):
            # The same code as on a GPU, so that it is tested, but nothing is gained.
            message += "; on a CPU that is a copy in the same memory, which saves none"
        return message


def wrap_blocks(model: nn.Module, config: ActivationCheckpointingConfig) -> Wrapped:
    """Replace `forward` of every n-th block. Raises `PluginError` for a class that is not there.

    Not the module: parameter names get no prefix, and hooks of FSDP and ZeRO on a block stay outside
    of what is recomputed, so a block's parameters are gathered once in its backward.
    """
    key = "plugins.activation_checkpointing.block_class"
    blocks = [block for _, block in find_blocks(model, config.block_class, key=key)]
    chosen = blocks[:: config.every]
    for block in chosen:
        block.forward = _wrapped(block.forward, config)
    # A cache of keys and values would be filled a second time when a block is recomputed.
    model_config: Any = getattr(model, "config", None)
    if model_config is not None:
        model_config.use_cache = False
    return Wrapped(type(blocks[0]).__name__, len(chosen), len(blocks))


def _wrapped(forward: Forward, config: ActivationCheckpointingConfig) -> Forward:
    treated = _treated(forward, config)

    @wraps(forward)
    def checkpointed(*arguments: Any, **keywords: Any) -> Any:
        # Without gradients nothing is kept anyway: evaluations do not pay.
        if not torch.is_grad_enabled():
            return forward(*arguments, **keywords)
        return treated(*arguments, **keywords)

    return checkpointed


def _treated(forward: Forward, config: ActivationCheckpointingConfig) -> Forward:
    if config.mode == "offload":
        return keep_on_host(forward)
    if config.mode == "selective":
        return partial(checkpoint, forward, use_reentrant=False, context_fn=selective_contexts)
    recomputed: Forward = partial(checkpoint, forward, use_reentrant=False)
    return keep_on_host(recomputed) if config.offload_inputs else recomputed

"""Model FLOPs utilisation (MFU): what training needs of the arithmetic that the devices could do.

MFU = tokens per second x FLOPs per token / peak FLOPs per second of all devices (Chowdhery et al. 2022,
PaLM, appendix B). Tokens are those without padding. FLOPs are those that forward and backward need, by
`stoker.plan.flops`: attention to what a token may look at, no gradient of frozen weights, the head for
supervised tokens only; what is computed twice, such as recomputed activations, counts once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from stoker.plan.architecture import read_architecture
from stoker.plan.facts import facts_from
from stoker.plan.flops import count_work
from stoker.plan.gpus import CPU, Gpu, find_gpu, recognise
from stoker.plan.situation import MicroBatch, Situation

if TYPE_CHECKING:
    from stoker.data.index import TokenIndex
    from stoker.run.context import Run
    from stoker.train.state import State


def flops_per_token(run: Run) -> float:
    """Floating-point operations that one token of the training rows needs in the mean.

    Raises `UsageError` for a model whose config.json says too little.
    """
    text = (run.model_directory / "config.json").read_text("utf-8")
    batch = _whole_set(run.index)
    situation = Situation(
        architecture=read_architecture(json.loads(text)),
        precision=run.recipe.train.precision,
        micro_batch=batch,
        gpu=find_gpu(CPU),
        ranks=run.world_size,
    )
    facts = facts_from(run.hooks.collect_mapping("collect_estimates", situation=situation))
    return count_work(situation, facts).model_flops / batch.tokens


def _whole_set(index: TokenIndex) -> MicroBatch:
    """All rows as one batch; a document of the length in which a token stands in the mean."""
    lengths = index.lengths.astype(float)
    total = float(lengths.sum())
    return MicroBatch(
        rows=1,
        positions=int(total),
        supervised=int(index.supervised_counts.sum()),
        longest_document=round(float((lengths**2).sum()) / total),
    )


def peak_flops(state: State) -> float | None:
    """Dense matrix products per second of all ranks' devices by their data sheet, in the compute dtype.

    None where the device is no GPU of the table.
    """
    device = state.engine.device
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    gpu = recognise(properties.name, properties.total_memory)
    return None if gpu is None else _peak(gpu, state.engine.regime.compute) * state.run.world_size


def _peak(gpu: Gpu, compute: torch.dtype) -> float:
    return gpu.fp32_flops if compute == torch.float32 else gpu.bf16_flops

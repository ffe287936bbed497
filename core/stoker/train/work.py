"""What a token costs in arithmetic, and what the devices could do: the terms of MFU and HFU.

MFU = tokens per second x FLOPs per token / peak FLOPs per second of all devices (Chowdhery et al. 2022,
PaLM, appendix B). Tokens are those without padding. FLOPs are those that forward and backward need, by
`stoker.plan.flops`: attention to what a token may look at, no gradient of frozen weights, the head for
supervised tokens only. HFU counts the FLOPs that are executed instead: activations that are computed
again, padding, and what a kernel computes of attention only to mask it.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from stoker.errors import StokerError
from stoker.plan.architecture import read_architecture
from stoker.plan.facts import Facts, facts_from
from stoker.plan.flops import count_work
from stoker.plan.gpus import CPU, Gpu, find_gpu, recognise
from stoker.plan.machine import read_machine
from stoker.plan.situation import MicroBatch, Situation
from stoker.run.arithmetic import DATA_SHEET
from stoker.run.complaints import complain
from stoker.run.skips import batch_of
from stoker.train.distributed import place_from_environment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stoker.run.context import Run
    from stoker.train.state import State

_SAMPLED_STEPS = 8
"""Spread over the run: what padding costs is the same in all of it."""


@dataclass(frozen=True)
class Work:
    """Of a token, and of all ranks' devices together. An event of this name says it."""

    model_flops_per_token: float
    """That forward and backward of a token without padding need in the mean of the training rows."""
    hardware_flops_per_token: float
    """Executed for each such token in the mean of sampled steps."""
    device: str
    """`cpu`, or the driver's name for the GPU."""
    peak_flops_per_second: float | None
    """Of dense matrix products in the compute dtype; None where nobody knows it."""
    peak_source: str | None
    """`data sheet`, or `stoker calibrate` for a processor, which was measured."""


def tell_work(state: State) -> None:
    """Fill `state.work`, and write it as an event; a note where it cannot be counted.

    A mistake of ours in counting is no reason not to train.
    """
    try:
        state.work = count_training(state)
    except (StokerError, OSError) as error:
        _note(state.run, str(error))
    except Exception as error:
        complain(traceback.format_exc())
        _note(state.run, f"{type(error).__name__}: {error}")
    else:
        if state.run.is_main:
            state.run.events.write("work", **asdict(state.work))


def count_training(state: State) -> Work:
    """The work of a run as it is about to train.

    Raises `UsageError` for a model whose config.json says too little, `PluginError` for what a plugin
    says in words that no plan knows.
    """
    run = state.run
    text = (run.model_directory / "config.json").read_text("utf-8")
    lengths = run.index.lengths
    batch = _one_row(lengths, int(run.index.supervised_counts.sum()))
    device = state.engine.device
    situation = Situation(
        architecture=read_architecture(json.loads(text)),
        precision=run.recipe.train.precision,
        micro_batch=batch,
        gpu=_gpu_of(device) or find_gpu(CPU),
        ranks=run.world_size,
    )
    facts = facts_from(run.hooks.collect_mapping("collect_estimates", situation=situation))
    peak, source = _peak(state, situation)
    return Work(
        model_flops_per_token=count_work(situation, facts).model_flops / batch.tokens,
        hardware_flops_per_token=_executed(state, situation, facts),
        device=CPU if device.type != "cuda" else torch.cuda.get_device_name(device),
        peak_flops_per_second=peak,
        peak_source=source,
    )


def _executed(state: State, situation: Situation, facts: Facts) -> float:
    """FLOPs for each token without padding, in steps of this run."""
    flops, tokens = 0.0, 0
    for micro_batch, num_tokens in _sampled(state, facts):
        flops += count_work(situation, facts, micro_batch).executed_flops
        tokens += num_tokens
    return flops / tokens


def _sampled(state: State, facts: Facts) -> Iterator[tuple[MicroBatch, int]]:
    """Micro-batches of all ranks in some steps, each with its tokens without padding."""
    index, ranks = state.run.index, state.run.world_size
    for step in range(1, state.total_steps + 1, max(1, state.total_steps // _SAMPLED_STEPS)):
        rows = state.order.rows(batch_of(step, state.skips))
        for chosen in state.batching(rows, index.lengths, ranks):
            if not chosen:
                continue
            lengths = index.lengths[chosen]
            supervised = int(index.supervised_counts[chosen].sum())
            if facts.packed:
                yield _one_row(lengths, supervised), int(lengths.sum())
            else:
                longest = int(lengths.max())
                # Attention of a padded row is computed over its padding too.
                yield MicroBatch(len(chosen), longest, supervised, longest), int(lengths.sum())


def _one_row(lengths: NDArray[np.integer], supervised: int) -> MicroBatch:
    """Rows laid end to end; a document of the length in which a token stands in the mean."""
    exact = lengths.astype(float)
    total = float(exact.sum())
    return MicroBatch(1, int(total), supervised, round(float((exact**2).sum()) / total))


def _peak(state: State, situation: Situation) -> tuple[float | None, str | None]:
    """Of all ranks' devices together, and where it is known from."""
    gpu = situation.gpu
    if state.engine.device.type != "cuda":
        # Ranks of a machine share its processor, all of which was measured.
        place = place_from_environment()
        machines = max(1, place.world_size // place.local_world_size)
        machine = read_machine(CPU)
        measured = machine.matmul_flops.get(str(situation.compute_bytes)) if machine else None
        return (measured * machines, "stoker calibrate") if measured else (None, None)
    if gpu.name == CPU:
        return None, None
    compute = state.engine.regime.compute
    flops = gpu.fp32_flops if compute == torch.float32 else gpu.bf16_flops
    return flops * state.run.world_size, DATA_SHEET


def _gpu_of(device: torch.device) -> Gpu | None:
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return recognise(properties.name, properties.total_memory)


def _note(run: Run, why: str) -> None:
    if run.is_main:
        run.events.write("note", message=f"MFU and HFU are not known: {why}")

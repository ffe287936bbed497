"""What a plan takes for granted, and what is wrong with it, in words. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.plan.gpus import CPU

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.cost import CostEstimate
    from stoker.plan.dataset import DataEstimate
    from stoker.plan.gpus import Gpu
    from stoker.plan.memory import MemoryEstimate
    from stoker.plan.situation import Situation
    from stoker.plan.time import TimeEstimate
    from stoker.recipe.model import Recipe

FROM_FIRST_STEP = "time: from the first step on; loading, tokenising and compiling come before."


def assumptions(
    recipe: Recipe,
    situation: Situation,
    data: DataEstimate | None,
    memory: MemoryEstimate,
    time: TimeEstimate | None,
    cost: CostEstimate | None,
) -> tuple[str, ...]:
    batch = situation.micro_batch
    size = f"{batch.rows} x {batch.positions:,} positions, {batch.supervised:,} of them supervised"
    said = [f"memory: the largest micro-batch, {size}"]
    if data is not None:
        said.append(data.how)
    elif recipe.train.steps is not None:
        said.append("data: not counted; every row is taken to be as long as data.sequence_length")
    said += memory.notes
    if time is not None:
        said += [*time.notes, FROM_FIRST_STEP]
    return (*said, *(cost.notes if cost else ()))


def findings(
    architecture: Architecture, gpu: Gpu, memory: MemoryEstimate, data: DataEstimate | None
) -> tuple[str, ...]:
    found = []
    if architecture.is_guess:
        found.append(
            f"model_type {architecture.model_type!r} is not known: read as a Llama of these sizes; "
            "`--measure` builds it."
        )
    if data is None:
        found.append("the data are not known here: `--count` tokenises them, and tells tokens and time.")
    if not memory.fits:
        over = memory.total - memory.capacity
        found.append(
            f"it does not fit: {over / 1e9:,.1f} GB too much on each GPU at the {memory.peak_moment}."
        )
    elif memory.total > 0.95 * memory.capacity and gpu.name != CPU:
        found.append("it fits with less than 5 % to spare: a longer row may end the run.")
    return tuple(found)

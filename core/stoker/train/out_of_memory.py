"""A rank that runs out of memory says where, what was planned, and what fits instead."""

from __future__ import annotations

import resource
import sys
import traceback
from typing import TYPE_CHECKING

import psutil

from stoker.cli.matrix import load_all
from stoker.errors import DoesNotFitError, StokerError
from stoker.plan.gpus import CPU
from stoker.plan.plan import Plan, Target, make_plan
from stoker.plan.prices import PriceTable
from stoker.plan.this_machine import this_gpu
from stoker.plan.what_fits import changes_that_fit, smallest
from stoker.train.peaks import in_use

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.run.context import Run

_SIGNS = ("can't allocate memory", "not enough memory", "CUDA out of memory", "bad_alloc")
"""What torch says in a plain `RuntimeError` where a CPU's allocator, or an older layer, gets nothing."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the host."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def explained(run: Run, error: BaseException) -> BaseException:
    """The error itself, or for one of memory the `DoesNotFitError` to show in its place."""
    if isinstance(error, StokerError) or not is_out_of_memory(error):
        return error
    # The frames hold what was too large, and planning needs some memory of its own.
    traceback.clear_frames(error.__traceback__)
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    found = out_of_memory(run, f"{run.heartbeat.phase} ({first})")
    found.__cause__ = error
    return found


def out_of_memory(run: Run, where: str) -> DoesNotFitError:
    """`where`: what was being done, in words."""
    message = f"rank {run.rank} ran out of memory at {where}."
    try:
        planned, hint = _advice(run)
    except StokerError as error:
        planned, hint = f"No plan could be made: {error}", "Lower train.micro_batch_size."
    return DoesNotFitError(f"{message} {planned}", hint=hint)


def _advice(run: Run) -> tuple[str, str]:
    """What the plan had said, and what fits."""
    gpu, nodes = this_gpu(), run.recipe.launch.nodes
    target = Target(gpu, run.world_size, nodes, prices=PriceTable(()))
    plan = make_plan(_with_rows(run), target)
    capacity = gpu.memory_bytes
    if gpu.name == CPU:
        capacity = min(host_capacity(run.world_size // nodes), room_below_limits())
    batch = plan.situation.micro_batch
    said = (
        f"Planned were {plan.memory.total / 1e9:,.2f} GB of {capacity / 1e9:,.2f} GB, most at the "
        f"{plan.memory.peak_moment}, for micro-batches of {batch.rows} x {batch.positions:,} positions."
    )
    return said, advice(_with_rows(run), plan, target, capacity)


def advice(recipe: Recipe, plan: Plan, target: Target, capacity: float) -> str:
    """Changes that fit, or that none does and which comes nearest."""
    classes, _ = load_all()
    if found := changes_that_fit(recipe, plan, target, classes, capacity):
        return f"What fits, by the plan: {'; '.join(found)}."
    nearest = smallest(recipe, plan, target, classes)
    return f"By the plan no change of one thing fits; the smallest: {nearest}."


def _with_rows(run: Run) -> Recipe:
    """The recipe with the number of rows that was in use."""
    rows = run.chosen_micro_batch_size
    if rows is None:
        return run.recipe
    from dataclasses import replace

    recipe = run.recipe
    train = recipe.train.model_copy(update={"micro_batch_size": rows})
    return replace(recipe, tables=recipe.tables.model_copy(update={"train": train}))


def room_below_limits() -> float:
    """Bytes that this process may still allocate by its own limits, once what failed has been freed.

    Libraries and code count too, so this is below the limit; what is held of the model is not counted as
    free, which is on the safe side.
    """
    room = float("inf")
    for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        if (most := resource.getrlimit(limit)[0]) != resource.RLIM_INFINITY:
            room = min(room, max(0, most - in_use(name)))
    return room


def host_capacity(ranks: int) -> float:
    """Bytes that one of `ranks` processes may have: of the machine, its container and its own limits."""
    own = [resource.getrlimit(each)[0] for each in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    limits = [limit for limit in own if limit != resource.RLIM_INFINITY]
    machine: float = min(this_gpu().memory_bytes, psutil.virtual_memory().total) / ranks
    return min([machine, *limits])

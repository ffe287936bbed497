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

_HOST_SIGNS = ("can't allocate memory", "not enough memory", "bad_alloc")
"""What torch says in a plain `RuntimeError` where the host's allocator gets nothing."""
_SIGNS = (*_HOST_SIGNS, "out of memory", "alloc_failed")
"""And what CUDA, cuBLAS, Triton and NCCL say, each in an error of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the host."""
    return isinstance(error, MemoryError) or _says(error, _SIGNS)


def _is_of_host(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or _says(error, _HOST_SIGNS)


def _says(error: BaseException, signs: tuple[str, ...]) -> bool:
    """Torch's `OutOfMemoryError` is a `RuntimeError` as well."""
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)


def free_frames(error: BaseException) -> None:
    """Let go of what the frames of an error, and of those that led to it, hold: what was too large."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        traceback.clear_frames(each.__traceback__)
        each = each.__cause__ or each.__context__


def explained(run: Run, error: BaseException) -> BaseException:
    """The error itself, or for one of memory the `StokerError` to show in its place.

    A `DoesNotFitError` for the memory that a plan is about. On a machine with a GPU the host's is not:
    there it may be another process that took it, so such a run may be started again.
    """
    if isinstance(error, StokerError) or not is_out_of_memory(error):
        return error
    free_frames(error)  # planning needs some memory of its own
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    where = f"{run.heartbeat.phase} ({first})"
    found = _host_is_full(run, where) if _is_of_host(error) and _has_gpu() else out_of_memory(run, where)
    found.__cause__ = error
    return found


def _has_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available()


def _host_is_full(run: Run, where: str) -> StokerError:
    total = psutil.virtual_memory().total / 1e9
    return StokerError(
        f"rank {run.rank} got no memory of the host at {where}; the machine has {total:,.0f} GB.",
        hint="`stoker plan` says what offloading takes of the host; see also what else runs there.",
    )


def out_of_memory(run: Run, where: str) -> DoesNotFitError:
    """`where`: what was being done, in words."""
    message = f"rank {run.rank} ran out of memory at {where}."
    try:
        planned, hint = _advice(run)
    except Exception as error:  # planning may get no memory either, and must not hide what happened
        reason = error if isinstance(error, StokerError) else repr(error)
        planned, hint = f"No plan could be made: {reason}", "Lower train.micro_batch_size."
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

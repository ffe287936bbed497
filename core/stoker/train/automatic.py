"""`train.micro_batch_size = "auto"` in a run: the planner's number, tried out before the first step.

All ranks do the same, one after the other: they agree after each try, over a group that needs no device,
so a rank that runs out of memory keeps none waiting. Within a try no rank waits for another: that is
what `Engine.can_rehearse` promises. An engine that gathers weights in every forward does not, and the
planner's number for a GPU with some memory to spare is taken as it is.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stoker.errors import StokerError, UsageError
from stoker.plan.automatic import even_sizes
from stoker.plan.plan import Target, make_plan
from stoker.plan.this_machine import this_gpu
from stoker.train.distributed import from_first_rank
from stoker.train.out_of_memory import free_frames, host_capacity, is_out_of_memory, out_of_memory
from stoker.train.peaks import forget_peak, most_resident
from stoker.train.rng import seed_micro_batch

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.boundary import Boundary
    from stoker.train.engine import Engine
    from stoker.train.state import State

FACT = "micro_batch_size"
"""Key of `facts` in run.json: {rows, made_for}."""
MOST_TRIES = 6
MARGIN = 0.9
"""Share of a GPU's memory that is planned with where nothing is tried out."""
_STEPS_LOOKED_AT = 8
"""Whose largest micro-batches are compared with that of the longest rows: packed ones may hold more."""


def choose_micro_batch_size(run: Run, engine: Engine) -> bool:
    """Settle `run.micro_batch_size`, which the recipe leaves open. Collective; needs the process group.

    Returns whether the number is still to be tried out: not where an earlier attempt has, or where the
    engine cannot. Raises `StokerError` on every rank where nothing can be planned.
    """
    answer = json.loads(from_first_rank(json.dumps(_ask_first(run, engine) if run.is_main else {})))
    if "problem" in answer:
        raise UsageError(answer["problem"], hint="Give train.micro_batch_size a number.")
    run.chosen_micro_batch_size = answer["rows"]
    if run.is_main:
        run.events.write("note", message=answer["words"])
        if not answer["open"]:
            _keep(run, engine)
    return bool(answer["open"])


def _ask_first(run: Run, engine: Engine) -> dict[str, Any]:
    """On rank 0: rows, words, and whether they are `open` to be tried out; or a `problem`."""
    known = run.directory.read_record().facts.get(FACT)
    made_for = _made_for(run, engine)
    if known and known["made_for"] == made_for:
        rows = known["rows"]
        words = f'train.micro_batch_size = "auto": {_count(rows)}, as in the attempt before'
        return {"rows": rows, "words": words, "open": False}
    try:
        gpu = this_gpu()
        if not engine.can_rehearse:
            gpu = replace(gpu, memory_bytes=gpu.memory_bytes * MARGIN)
        plan = make_plan(run.recipe, Target(gpu, run.world_size, run.recipe.launch.nodes))
    except StokerError as error:
        return {"problem": f'train.micro_batch_size = "auto" cannot be planned: {error}'}
    words = plan.assumptions[0]
    if known:
        words = f"{words}; it was {known['rows']} on another machine or for another recipe"
    return {"rows": plan.micro_batch_rows, "words": words, "open": engine.can_rehearse}


def rehearse(state: State, boundary: Boundary) -> None:
    """Try the number out with the longest rows, and settle on the largest that works. Collective.

    Weights, gradients, optimizer and random numbers are as before. Raises `DoesNotFitError` on every
    rank where nothing works.
    """
    run, guess = state.run, state.run.micro_batch_size
    sizes = _sizes(run, state.engine, guess)
    if run.world_size > 1:
        _first_forward(state)
    with _room_for_optimizer(state):
        found = largest_that_works(sizes, guess, lambda rows: _works_everywhere(state, boundary, rows))
    if found is None:
        run.chosen_micro_batch_size = sizes[-1]
        raise out_of_memory(run, f"the longest of {_count(sizes[-1])}, tried before the first step")
    run.chosen_micro_batch_size = found
    if run.is_main:
        compared = "as planned" if found == guess else f"where {guess} were planned"
        message = f'train.micro_batch_size = "auto": {_count(found)} tried out, {compared}'
        run.events.write("note", message=message)
        _keep(run, state.engine)


def largest_that_works(
    sizes: Sequence[int], guess: int, works: Callable[[int], bool], most_tries: int = MOST_TRIES
) -> int | None:
    """The largest of the falling `sizes` that works, as far as `most_tries` tries can tell.

    Begins with `guess`, goes up one size after the other while that works, else down by halves; what is
    returned has worked. The last try is for the smallest where nothing has. None where nothing works.
    """
    place = sizes.index(guess)
    below = len(sizes)  # the places from here on are known to work, once one has
    if works(sizes[place]):
        below = place
        for _ in range(1, most_tries):
            if below == 0 or not works(sizes[below - 1]):
                break
            below -= 1
        return sizes[below]
    first, tries = place + 1, 1
    while first < below and tries < most_tries:
        is_last_hope = below == len(sizes) and tries == most_tries - 1
        middle = len(sizes) - 1 if is_last_hope else (first + below) // 2
        tries += 1
        if works(sizes[middle]):
            below = middle
        else:
            first = middle + 1
    return sizes[below] if below < len(sizes) else None


def _sizes(run: Run, engine: Engine, guess: int) -> list[int]:
    """What may be tried; on a CPU nothing above what is planned, which is enough to be fast."""
    sizes = even_sizes(run.recipe.train.batch_size, run.world_size)
    return [rows for rows in sizes if rows <= guess] if engine.device.type == "cpu" else sizes


def _first_forward(state: State) -> None:
    """DDP communicates in its first backward, whatever it is told: so that is one without rows."""
    engine = state.engine
    devices = [engine.device] if engine.device.type == "cuda" else []
    with torch.random.fork_rng(devices), engine.micro_batch(last=False):
        engine.forward(state.loss, state.collator(state.run.index, []).to(engine.device))
    state.optimizer.zero_grad(set_to_none=True)


def _works_everywhere(state: State, boundary: Boundary, rows: int) -> bool:
    run = state.run
    run.chosen_micro_batch_size = rows
    run.heartbeat.beat(f"trying micro-batches of {_count(rows)}")
    problem: BaseException | None = None
    works = True
    tells_peak = forget_peak()  # a larger try before this one must not count
    try:
        _try(state)
        works = _is_resident(state) or not tells_peak
    except BaseException as error:
        if not is_out_of_memory(error):
            problem = error
        works = False
        free_frames(error)
    state.optimizer.zero_grad(set_to_none=True)
    if not works:
        gc.collect()
        if state.engine.device.type == "cuda":
            torch.cuda.empty_cache()
    if problem is not None:
        raise problem
    return boundary.all_fine(works)


def _try(state: State) -> None:
    """Forward and backward of the largest micro-batch, twice where a step has several on a rank.

    The second finds the gradients of the first in memory.
    """
    run, engine = state.run, state.engine
    batch = state.collator(run.index, largest_rows(state))
    times = 2 if run.recipe.train.batch_size > run.micro_batch_size * run.world_size else 1
    devices = [engine.device] if engine.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        for _ in range(times):
            seed_micro_batch(state.seed, 0, 0, engine.device)
            with engine.micro_batch(last=False):
                loss_sum, _ = engine.forward(state.loss, batch.to(engine.device))
                engine.backward(loss_sum, 1 / max(1, batch.num_supervised))
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)


def _is_resident(state: State) -> bool:
    """On a CPU memory is promised that is not there: what was used at most must be below the limit."""
    ranks = state.run.world_size // state.run.recipe.launch.nodes
    return state.engine.device.type != "cpu" or most_resident() <= host_capacity(ranks)


def largest_rows(state: State) -> list[int]:
    """The rows of the micro-batch with the most tokens that a step may have.

    Where all logits are computed at once, one with fewer tokens, of which more are supervised, may need
    more memory: that is not looked at.
    """
    run, lengths = state.run, np.asarray(state.run.index.lengths, dtype=np.int64)
    longest = np.argsort(-lengths, kind="stable")[: run.micro_batch_size]
    # Laid out as in a step: a plugin may not put as many rows together.
    candidates = state.batching([int(row) for row in longest], lengths, 1)
    last = min(state.step + _STEPS_LOOKED_AT, state.total_steps)
    for step in range(state.step + 1, last + 1):
        candidates += state.plan(step, 0).micro_batches[:1]
    return max(candidates, key=lambda rows: int(lengths[rows].sum()))


@contextmanager
def _room_for_optimizer(state: State) -> Iterator[None]:
    """Keep the memory that the optimizer's states will take, where they do not exist yet.

    Two for each trained element, as AdamW has. On a CPU too, where untouched pages count as address
    space and data of the process, though not as resident.
    """
    kept: list[torch.Tensor] = []
    if not any(state.optimizer.state.values()):
        try:
            for group in state.optimizer.param_groups:
                kept += [torch.empty_like(p) for p in group["params"] for _ in range(2)]
        except BaseException as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(state.run, "the optimizer's states") from error
    yield
    kept.clear()


def _keep(run: Run, engine: Engine) -> None:
    fact = {"rows": run.micro_batch_size, "made_for": _made_for(run, engine)}
    facts = run.directory.read_record().facts
    run.directory.update_record(facts={**facts, FACT: fact})


def _made_for(run: Run, engine: Engine) -> dict[str, Any]:
    """What the number depends on: with the same, an attempt takes the same number again."""
    recipe = run.recipe
    device = "cpu"
    if engine.device.type == "cuda":
        facts = torch.cuda.get_device_properties(engine.device)
        device = f"{facts.name}, {facts.total_memory} bytes"
    return {
        "device": device,
        "ranks": run.world_size,
        "model": recipe.fingerprint("model"),
        "plugins": recipe.fingerprint("plugins"),
        "batch_size": recipe.train.batch_size,
        "precision": recipe.train.precision,
        "sequence_length": recipe.data.sequence_length,
    }


def _count(rows: int) -> str:
    return f"{rows} {'row' if rows == 1 else 'rows'}"

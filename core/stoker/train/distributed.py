"""Which rank this process is, and how ranks find each other, whoever started them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, HashStore, PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from stoker.errors import Interrupted, UsageError
from stoker.run.directory import RunDirectory

if TYPE_CHECKING:
    from stoker.run.context import Run

TIMEOUT = timedelta(minutes=30)
ANNOUNCEMENT_KEY = "stoker/run"
READY_KEY = "stoker/ready"
VERDICTS_KEY = "stoker/verdicts"
"""Counts ranks that have something to say about whether all go on; the first one's word is law."""
VERDICT_KEY = "stoker/verdict"
GO, LEAVE = "go", "leave"
SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True)
class Place:
    """This process among all ranks."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1


def place_from_environment(environment: Mapping[str, str] = os.environ) -> Place:
    """Read RANK and friends (torchrun, accelerate, stoker), else Slurm's; alone if there are none."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        # A batch script has SLURM_PROCID and SLURM_NTASKS too; only a step of srun has tasks of its own.
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
    else:
        return Place()
    rank, world_size = int(environment[names[0]]), int(environment[names[1]])
    local_rank = int(environment.get(names[2], rank))
    return Place(rank, world_size, local_rank, int(environment.get(names[3], world_size)))


def publish(place: Place) -> None:
    """Set the variables that Accelerate and torch read, from `place`; none of them when alone."""
    values = {
        "RANK": place.rank,
        "WORLD_SIZE": place.world_size,
        "LOCAL_RANK": place.local_rank,
        "LOCAL_WORLD_SIZE": place.local_world_size,
    }
    for name, value in values.items():
        if place.world_size > 1:
            os.environ[name] = str(value)
        else:
            os.environ.pop(name, None)


def open_store(place: Place) -> Store | None:
    """The key-value store through which ranks meet; None for one rank.

    A file in the run directory when stoker started the ranks of one node (nothing listens then),
    else the launcher's TCP store at MASTER_ADDR:MASTER_PORT.
    """
    if place.world_size == 1:
        return None
    if path := os.environ.get("STOKER_STORE"):
        return FileStore(path, place.world_size)
    if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        raise UsageError(
            f"rank {place.rank} of {place.world_size} lacks MASTER_ADDR and MASTER_PORT.",
            hint="Set them to an address of rank 0's node and a free port there.",
        )
    store: Store
    store, _, _ = next(rendezvous("env://", place.rank, place.world_size, timeout=TIMEOUT))
    return store


def announce(store: Store, facts: Mapping[str, Any]) -> None:
    """Rank 0 tells the others which run this is, or why there is none; see `learn`."""
    store.set(ANNOUNCEMENT_KEY, json.dumps(dict(facts)))


def learn(store: Store) -> dict[str, Any]:
    """Wait for what rank 0 announced."""
    facts: dict[str, Any] = json.loads(store.get(ANNOUNCEMENT_KEY).decode())
    return facts


def meet(run: Run, raise_if_stopped: Callable[[], None]) -> None:
    """Wait until every rank has its data. Signals are still heard here, and ranks that left missed.

    In the creation of a process group a rank waits where Python hears nothing, so either all go there
    or none does. Raises `Interrupted`.
    """
    if run.store is None:
        return
    store = _own_part(run.store, run.directory, run.attempt)
    store.set(f"{READY_KEY}/{run.rank}", "1")
    everyone = [f"{READY_KEY}/{rank}" for rank in range(run.world_size)]
    stopped: Interrupted | None = None
    while not store.check([VERDICT_KEY]):
        try:
            raise_if_stopped()
        except Interrupted as error:
            stopped = error
        if stopped is not None or store.check(everyone):
            _say(store, GO if stopped is None else LEAVE)
        else:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if store.get(VERDICT_KEY).decode() == LEAVE:
        raise stopped or Interrupted("another rank left before the first step.")


def _say(store: Any, verdict: str) -> None:
    """Give the verdict, unless another rank has, or is about to."""
    if store.add(VERDICTS_KEY, 1) == 1:
        store.set(VERDICT_KEY, verdict)
    store.get(VERDICT_KEY)


def leave(store: Any, directory: RunDirectory, attempt: int) -> None:
    """Tell ranks of a run that wait in `meet` that this one will not come."""
    if store is not None:
        # The process that kept the store may be gone, and the others with it.
        with suppress(RuntimeError):
            _say(_own_part(store, directory, attempt), LEAVE)


def _own_part(store: Any, directory: RunDirectory, attempt: int) -> Any:
    """Ranks may train several runs, one after the other, and keep their store."""
    return PrefixStore(f"{directory.name}/{attempt}", store)


def connect(run: Run, *, even_alone: bool = False) -> None:
    """Create the process group: gloo, and NCCL for CUDA tensors.

    A run of one rank has one only where `even_alone`, for libraries that cannot do without.
    """
    if dist.is_initialized() or (run.world_size == 1 and not even_alone):
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(run.local_rank)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store: Any = run.store or HashStore()
    dist.init_process_group(
        backend, store=store, rank=run.rank, world_size=run.world_size, timeout=TIMEOUT
    )


def all_agree(fine: bool) -> bool:
    """Whether every rank says so. Collective, on the host; True to itself without other ranks."""
    if not dist.is_initialized():
        return fine
    problem = torch.tensor(int(not fine))
    dist.all_reduce(problem, dist.ReduceOp.MAX)
    return not bool(problem)


def from_first_rank(text: str) -> str:
    """What rank 0 says, on every rank. Collective, on the host."""
    if not dist.is_initialized():
        return text
    content = text.encode()
    length = torch.tensor(len(content))
    dist.broadcast(length, src=0)
    letters = torch.zeros(int(length), dtype=torch.uint8)
    if dist.get_rank() == 0 and content:
        letters.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    if int(length):
        dist.broadcast(letters, src=0)
    return bytes(letters.tolist()).decode()


def disconnect() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()

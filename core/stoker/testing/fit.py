"""Runs the real training code on the tiny model, in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.plugin import Plugin, PluginConfig
from stoker.testing.recorder import Recorder
from stoker.testing.tiny import write_tiny_data, write_tiny_model

RECIPE = """
[run]
name = "tiny"
directory = "{runs}"
[model]
path = "{model}"
initial_weights = "random"
[data]
train = [{{ path = "{data}", format = "messages" }}]
eval = [{{ path = "{evaluation}", format = "messages" }}]
sequence_length = 128
[train]
steps = 3
batch_size = 4
micro_batch_size = 2
learning_rate = 1e-2
precision = "fp32"
log_every = 1
"""


@dataclass(frozen=True)
class Fit:
    """What a tiny run did."""

    outcome: Any
    """`stoker.run.context.Outcome`."""
    directory: Any
    """`stoker.run.directory.RunDirectory`."""
    events: list[dict[str, Any]]
    timeline: list[str]
    """Hook names in calling order."""
    run: Any

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind, in order."""
        return [event for event in self.events if event["kind"] == kind]

    @property
    def losses(self) -> list[float]:
        """Training loss of each step."""
        return [event["loss"] for event in self.of_kind("step")]


def tiny_recipe(folder: Path, overrides: Sequence[str] = ()) -> Any:
    """A checked recipe for the tiny model, whose files are written to `folder`.

    `overrides` are as for `stoker run --set`.
    """
    from stoker.recipe.loading import load_recipe

    model = folder / "model"
    if not model.exists():
        write_tiny_model(model)
    paths = {
        "runs": folder / "runs",
        "model": model,
        "data": write_tiny_data(folder / "train.jsonl"),
        "evaluation": write_tiny_data(folder / "evaluation.jsonl", 6),
    }
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.format(**{name: path.as_posix() for name, path in paths.items()}))
    return load_recipe(recipe, overrides)


def tiny_fit(
    folder: Path,
    plugins: Mapping[str, Plugin[Any] | Mapping[str, Any]] | None = None,
    overrides: Sequence[str] = (),
    *,
    directory: Any = None,
) -> Fit:
    """Train the tiny model; `plugins` are instances, or tables of installed plugins.

    Goes on with the run in `directory` where one is given, as `stoker resume` would. Raises what
    the run raises. Where a process group exists, all of its ranks call this together, each with a
    `folder` that they share.
    """
    from stoker.dispatch import Hooks
    from stoker.registry import arrange, make_plugins
    from stoker.run.context import Run
    from stoker.run.directory import RunDirectory
    from stoker.run.events import EventWriter, read_events
    from stoker.train.distributed import place_from_environment
    from stoker.train.signals import SignalFlags
    from stoker.train.worker import execute

    tables = {name: value for name, value in (plugins or {}).items() if not isinstance(value, Plugin)}
    given = {name: value for name, value in (plugins or {}).items() if isinstance(value, Plugin)}
    recorder = Recorder(PluginConfig())
    place = place_from_environment()
    with _one_after_the_other(place.rank, place.world_size):
        recipe = tiny_recipe(folder, [*overrides, *_as_overrides(tables)])
    if directory is None:
        path = _from_first_rank(
            lambda: RunDirectory.create(folder / "runs", _free_name(folder / "runs"), recipe).path
        )
        directory = RunDirectory(path)
    events = EventWriter(directory.events_path, attempt=1, rank=place.rank)
    # The recorder stands beside the arrangement: it implements what only one plugin may own.
    enabled = {"recorder": recorder, **arrange({**make_plugins(recipe.plugins), **given})}
    with _cache_in(folder / "cache"):
        hooks = Hooks(enabled, lambda message: events.write("alert", message=message))
        run = Run(
            recipe=recipe,
            hooks=hooks,
            directory=directory,
            events=events,
            rank=place.rank,
            world_size=place.world_size,
            local_rank=place.local_rank,
        )
        try:
            outcome = execute(run, SignalFlags())
        except BaseException as error:
            hooks.tell_failure(run=run, error=error)
            raise
    return Fit(outcome, directory, list(read_events(directory.events_path)), recorder.timeline, run)


@contextmanager
def _one_after_the_other(rank: int, world_size: int) -> Iterator[None]:
    """Ranks write the same files: never two of them at a time."""
    if world_size == 1:
        yield
        return
    import torch.distributed as dist

    for _ in range(rank):
        dist.barrier()
    try:
        yield
    finally:  # whatever it raised, the others wait for their turn
        for _ in range(world_size - rank):
            dist.barrier()


def _from_first_rank(make: Callable[[], Path]) -> Path:
    """What `make` gives on rank 0, on every rank."""
    import torch.distributed as dist

    if not dist.is_initialized():
        return make()
    made = [str(make()) if dist.get_rank() == 0 else ""]
    dist.broadcast_object_list(made)
    return Path(made[0])


def _as_overrides(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Plugin tables as `--set` takes them, so that the recipe knows them as any other."""
    import tomlkit

    inline = {name: tomlkit.inline_table() for name in tables}
    for name, table in tables.items():
        inline[name].update(table)
    return [f"plugins.{name}={table.as_string()}" for name, table in inline.items()]


def _free_name(runs: Path) -> str:
    number = 1
    while (runs / f"tiny-{number}").exists():
        number += 1
    return f"tiny-{number}"


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Keep tokenised rows out of the user's cache unless the caller chose one."""
    before = os.environ.get("STOKER_CACHE")
    os.environ["STOKER_CACHE"] = before or str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["STOKER_CACHE"]

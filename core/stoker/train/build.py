"""Builds everything a run trains with, in the order of the timeline."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stoker.checkpoint.reading import CheckpointSource
from stoker.data.batches import Prefetcher, Step, collate, collate_plan, cut_by_length
from stoker.data.index import PreparedData, TokenIndex, prepare_index
from stoker.data.order import Order, default_order, total_steps
from stoker.dispatch import Hooks
from stoker.errors import StokerError
from stoker.registry import make_plugins
from stoker.run.context import Run
from stoker.run.events import EventWriter
from stoker.run.skips import Skip, read_skips, steps_for
from stoker.train import schedule
from stoker.train.base import BaseDigest, require_same_base
from stoker.train.default_engine import DefaultEngine
from stoker.train.distributed import from_first_rank
from stoker.train.limits import raise_if_limited
from stoker.train.loss import CausalLMLoss, Loss
from stoker.train.model import (
    check_sequence_length,
    locate_model_files,
    make_model,
    make_tokenizer,
)
from stoker.train.optimizer import default_optimizer, parameter_groups
from stoker.train.progress import Progress
from stoker.train.resuming import check_fits, choose_checkpoint, restore
from stoker.train.state import State
from stoker.train.weights import (
    InitialValue,
    InitialValuesSource,
    LayeredSource,
    RandomSource,
    TensorsSource,
    WeightSource,
    modules_as_built,
    pretrained_source,
)

if TYPE_CHECKING:
    from stoker.checkpoint.finding import Checkpoint
    from stoker.data.batches import Batching
    from stoker.recipe.model import Recipe
    from stoker.run.directory import RunDirectory
    from stoker.train.engine import Engine
    from stoker.train.signals import SignalFlags


UNITS = {"finding data": "sources", "reading data": "files"}


def build_data(run: Run, signals: SignalFlags) -> PreparedData:
    """Model files, tokenizer and tokenised rows. Slow, so before any process group exists."""
    open_model_files(run)
    return tokenise_data(run, signals)


def tokenise_data(run: Run, signals: SignalFlags) -> PreparedData:
    """The tokenised rows of a run whose tokenizer is known."""
    sources = run.hooks.collect_mapping("collect_sources", run=run)

    phases: dict[str, Progress] = {}

    def report(phase: str, done: int, total: int) -> None:
        signals.raise_if_stopped()
        raise_if_limited(run)
        unit = UNITS.get(phase, "rows")
        phases.setdefault(phase, Progress(run, phase, total, unit)).update(done)

    data = prepare_index(run.recipe, run.tokenizer, sources, report)
    run.index = data.train
    run.data_digests = {"data": run.recipe.fingerprint("data"), **data.digests}
    for note in data.notes if run.is_main else []:
        run.events.write("note", message=note)
    return data


def open_model_files(run: Run) -> None:
    """Set the run's model directory and tokenizer.

    Raises `UsageError` for a model that is not there or knows fewer positions than a row has.
    """
    run.model_directory = locate_model(run)
    check_sequence_length(run)
    run.tokenizer = run.hooks.own("make_tokenizer", lambda: make_tokenizer(run), run=run)


def run_outside_training(recipe: Recipe, directory: RunDirectory) -> Run:
    """A run as far as model files and tokenizer: no engine, and its events go nowhere."""
    run = Run(
        recipe=recipe,
        hooks=Hooks(make_plugins(recipe.plugins)),
        directory=directory,
        events=EventWriter(Path(os.devnull), attempt=0, rank=0),
    )
    open_model_files(run)
    return run


def locate_model(run: Run) -> Path:
    """The model's files: a plugin's for a path `plugin:name`, else a directory or the hub's."""
    owner, separator, _ = run.recipe.model.path.partition(":")
    if separator and owner in run.hooks.plugins:
        directory: Path = run.hooks.own(
            "make_model_files", lambda: locate_model_files(run), plugin=owner, run=run
        )
        return directory
    return locate_model_files(run)


def build_engine(run: Run) -> Engine:
    """The plugin's engine or the default one; creates the process group."""
    engine: Engine = run.hooks.own("make_engine", lambda: DefaultEngine(run), run=run)
    run.engine = engine
    return engine


def build_order(run: Run, data: PreparedData) -> Order:
    """Which rows each step takes."""
    order: Order = run.hooks.own(
        "make_order",
        lambda: default_order(run.recipe, data.train.source_sizes),
        run=run,
        index=data.train,
    )
    return order


def build_model(run: Run, engine: Engine) -> nn.Module:
    """The adapted model, placed by the engine; parameters have no values yet."""
    model = construct_trainable(run, engine)
    engine.shard(model)
    return model


def construct_trainable(run: Run, engine: Engine) -> nn.Module:
    """The adapted model before it is placed. Raises `StokerError` where nothing of it is trained."""
    with engine.building():
        model = construct_model(run, engine)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise StokerError("no parameter is trainable.", hint="Loosen [plugins.freeze].")
    return model


def construct_model(run: Run, engine: Engine | None) -> nn.Module:
    """The model with every plugin's changes. Called where parameters take no memory."""
    hooks = run.hooks
    keyword_arguments = hooks.collect_mapping("collect_model_kwargs", run=run)
    model: nn.Module = hooks.own(
        "make_model", lambda: make_model(run, keyword_arguments), run=run, engine=engine
    )
    # `from_pretrained`, by which a plugin may have made it, gives evaluation mode.
    model.train()
    run.base_modules = modules_as_built(model)
    for stage in ("patch_model", "adapt_model", "checkpoint_activations", "compile_model"):
        hooks.stage(stage, run=run, model=model)
    run.parameter_shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    return model


def build_state(run: Run, order: Order, model: nn.Module) -> State:
    """Optimizer, values, loss and schedule, restored from the newest valid checkpoint if any."""
    initial_values = attach_optimizer(run, model)
    checkpoint, passed_over = choose_checkpoint(run)
    if checkpoint is not None:
        check_fits(run, model, checkpoint)
    base = _base_digest(run, model, checkpoint)
    restored = [] if checkpoint is None else [CheckpointSource(checkpoint)]
    source = weight_source(run, model, initial_values, restored)
    run.engine.load(_with_progress(run, model, source))
    skips = read_skips(run.directory.read_record())
    state = assemble_state(run, order, model, skips=skips, base=base)
    if checkpoint is not None:
        restore(state, checkpoint, passed_over)
    return state


def attach_optimizer(run: Run, model: nn.Module) -> dict[str, InitialValue]:
    """Make the optimizer and give it to the engine; returns what plugins say of parameters' values."""
    hooks, engine = run.hooks, run.engine
    groups = parameter_groups(model, run.parameter_shapes, run.recipe.train.weight_decay)
    optimizer = hooks.own(
        "make_optimizer",
        lambda: default_optimizer(groups, engine.regime),
        run=run,
        parameter_groups=groups,
    )
    initial_values = hooks.collect_mapping("collect_initial_values", run=run, model=model)
    engine.attach(optimizer)
    return initial_values


def assemble_state(
    run: Run,
    order: Order,
    model: nn.Module,
    *,
    skips: tuple[Skip, ...] = (),
    base: BaseDigest | None = None,
) -> State:
    """What the loop is given, around a model that the engine has placed and filled."""
    hooks, train = run.hooks, run.recipe.train
    loss: Loss = hooks.own("make_loss", lambda: _default_loss(run, model), run=run)
    steps = total_steps(train, order)
    return State(
        run=run,
        engine=run.engine,
        model=model,
        optimizer=run.engine.optimizer,
        order=order,
        loss=loss,
        schedule=hooks.own("make_schedule", lambda: schedule.make_schedule(train, steps), run=run),
        collator=hooks.own("make_collator", lambda: collate, run=run),
        batching=hooks.own("make_batching", lambda: _default_batching(run), run=run),
        # Of epochs, skipped batches are a part; the schedule stays that of the whole, so that steps
        # before the first of them are what they were.
        total_steps=steps_for(steps, skips) if train.steps is None else steps,
        skips=skips,
        base=base,
    )


def _default_loss(run: Run, model: nn.Module) -> Loss:
    def note(message: str) -> None:
        if run.is_main:
            run.events.write("note", message=message)

    return CausalLMLoss(model, may_call_repeatedly=not run.engine.calls_communicate, note=note)


def _default_batching(run: Run) -> Batching:
    """Asks for the size each time: it may be found after the state is built."""

    def cut(rows: Sequence[int], lengths: NDArray[np.integer], world_size: int) -> list[list[int]]:
        return cut_by_length(run.micro_batch_size)(rows, lengths, world_size)

    return cut


def _base_digest(run: Run, model: nn.Module, checkpoint: Checkpoint | None) -> BaseDigest | None:
    """On rank 0, where checkpoints hold a part of the model only.

    Raises `UsageError` on every rank where the checkpoint was trained on another base.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        return None
    base = BaseDigest(run) if run.is_main else None
    if checkpoint is not None and checkpoint.manifest.base:
        require_same_base(run, checkpoint, from_first_rank(base.value() if base else ""))
    return base


def weight_source(
    run: Run,
    model: nn.Module,
    initial_values: dict[str, InitialValue],
    restored: Sequence[WeightSource],
) -> WeightSource:
    """Restored values over initial ones over pretrained or random weights."""
    shapes = run.parameter_shapes
    if all(any(source.has(name, "weight") for source in restored) for name in shapes):
        return LayeredSource(restored)
    if run.recipe.model.initial_weights == "random":
        base: WeightSource = RandomSource(run.base_modules, run.recipe.run.seed)
    else:
        base = pretrained_source(run.model_directory, shapes, known_elsewhere=initial_values)
        if isinstance(base, TensorsSource) and run.is_main:
            message = "the files name their tensors otherwise: each rank has all of them in host memory"
            run.events.write("note", message=f"{message} until its weights are loaded")
    initial = InitialValuesSource(initial_values, shapes, run.recipe.run.seed, base)
    return LayeredSource([*restored, initial])


class _ReportingSource:
    """Passes reads on and reports how many of the model's tensors have been read."""

    def __init__(self, source: WeightSource, progress: Progress) -> None:
        self.source = source
        self.optimizer_steps = source.optimizer_steps
        self.progress = progress
        self.done = 0

    def has(self, name: str, kind: str) -> bool:
        return self.source.has(name, kind)

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        return self.source.optimizer_states(name)

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Any:
        if kind == "weight":
            self.done += 1
            self.progress.update(self.done)
        return self.source.read(name, kind, start, stop)


def _with_progress(run: Run, model: nn.Module, source: WeightSource) -> WeightSource:
    total = sum(1 for _ in model.parameters())
    return _ReportingSource(source, Progress(run, "loading weights", total, "tensors"))


@contextmanager
def prefetch(state: State, index: TokenIndex) -> Iterator[Iterator[Step]]:
    """The steps that are left, each with its batches made in the background."""
    pin = state.engine.device.type == "cuda"

    def make(step: int) -> Step:
        return collate_plan(state.plan(step, state.run.rank), index, state.collator, pin=pin)

    with Prefetcher(make, range(state.step + 1, state.total_steps + 1)) as steps:
        yield steps

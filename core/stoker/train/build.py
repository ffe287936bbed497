"""Builds everything a run trains with, in the order of the timeline."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stoker.checkpoint.reading import Checkpoint, CheckpointSource, list_checkpoints, newest_valid
from stoker.data.batches import Prefetcher, Step, collate, collate_plan, plan_step
from stoker.data.index import PreparedData, TokenIndex, prepare_index
from stoker.data.order import KeyedOrder, Order, total_steps
from stoker.dispatch import Hooks
from stoker.errors import StokerError, UsageError
from stoker.registry import make_plugins
from stoker.run.context import Run
from stoker.run.events import EventWriter
from stoker.train import schedule
from stoker.train.default_engine import DefaultEngine
from stoker.train.loss import CausalLMLoss, Loss
from stoker.train.model import (
    check_sequence_length,
    locate_model_files,
    make_model,
    make_tokenizer,
)
from stoker.train.optimizer import default_optimizer, parameter_groups
from stoker.train.progress import Progress
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
    from stoker.recipe.model import Recipe
    from stoker.run.directory import RunDirectory
    from stoker.train.engine import Engine
    from stoker.train.signals import SignalFlags


UNITS = {"finding data": "sources", "reading data": "files"}


def build_data(run: Run, signals: SignalFlags) -> PreparedData:
    """Model files, tokenizer and tokenised rows. Slow, so before any process group exists."""
    open_model_files(run)
    sources = run.hooks.collect_mapping("collect_sources", run=run)

    phases: dict[str, Progress] = {}

    def report(phase: str, done: int, total: int) -> None:
        signals.raise_if_stopped()
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
    recipe = run.recipe
    order: Order = run.hooks.own(
        "make_order",
        lambda: KeyedOrder(
            data.train.source_sizes,
            recipe.train.batch_size,
            recipe.run.seed,
            [source.weight for source in recipe.data.train],
        ),
        run=run,
        index=data.train,
    )
    return order


def build_model(run: Run, engine: Engine) -> nn.Module:
    """The adapted model, placed by the engine; parameters have no values yet."""
    with engine.building():
        model = construct_model(run, engine)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise StokerError("no parameter is trainable.", hint="Loosen [plugins.freeze].")
    engine.shard(model)
    return model


def construct_model(run: Run, engine: Engine | None) -> nn.Module:
    """The model with every plugin's changes. Called where parameters take no memory."""
    hooks = run.hooks
    keyword_arguments = hooks.collect_mapping("collect_model_kwargs", run=run)
    model: nn.Module = hooks.own(
        "make_model", lambda: make_model(run, keyword_arguments), run=run, engine=engine
    )
    run.base_modules = modules_as_built(model)
    for stage in ("patch_model", "adapt_model", "checkpoint_activations", "compile_model"):
        hooks.stage(stage, run=run, model=model)
    run.parameter_shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    return model


def build_state(run: Run, order: Order, model: nn.Module) -> State:
    """Optimizer, values, loss and schedule, restored from the newest valid checkpoint if any."""
    hooks, engine, train = run.hooks, run.engine, run.recipe.train
    groups = parameter_groups(model, run.parameter_shapes, train.weight_decay)
    optimizer = hooks.own(
        "make_optimizer",
        lambda: default_optimizer(groups, engine.regime),
        run=run,
        parameter_groups=groups,
    )
    initial_values = hooks.collect_mapping("collect_initial_values", run=run, model=model)
    engine.attach(optimizer)
    checkpoint, passed_over = newest_valid(run.directory.checkpoints_path)
    if checkpoint is not None:
        check_same_data(run, checkpoint)
        check_same_engine(run, checkpoint)
    restored = [] if checkpoint is None else [CheckpointSource(checkpoint)]
    source = weight_source(run, model, initial_values, restored)
    engine.load(_with_progress(run, model, source))
    loss: Loss = hooks.own("make_loss", lambda: CausalLMLoss(model), run=run)
    steps = total_steps(train, order)
    state = State(
        run=run,
        engine=engine,
        model=model,
        optimizer=engine.optimizer,
        order=order,
        loss=loss,
        schedule=hooks.own("make_schedule", lambda: schedule.make_schedule(train, steps), run=run),
        collator=hooks.own("make_collator", lambda: collate, run=run),
        total_steps=steps,
    )
    if checkpoint is not None:
        restore(state, checkpoint, passed_over)
    return state


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


def check_same_data(run: Run, checkpoint: Checkpoint) -> None:
    """Raise `UsageError` if the sources hold other rows than when the checkpoint was written.

    The cursor of a run is a number of rows: with other rows it means nothing. That the recipe names
    other data is something a user has allowed.
    """
    before, now = checkpoint.manifest.data, run.data_digests
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed and before["data"] == now["data"]:
        raise UsageError(
            f"the content of {' and '.join(changed)} has changed since {checkpoint.path.name}.",
            hint="Put it back, or start a new run: stoker run --fresh.",
        )


def check_same_engine(run: Run, checkpoint: Checkpoint) -> None:
    """Raise `UsageError` for optimizer states that cannot move to this run's engine."""
    manifest, engine = checkpoint.manifest, type(run.engine).__name__
    if not manifest.portable and manifest.engine_class != engine:
        raise UsageError(
            f"the optimizer states of {checkpoint.path.name} cannot move from {manifest.engine_class} "
            f"to {engine}: they do not belong to single elements of the parameters.",
            hint="Go on with the engine of the run, or start a new one: stoker run --fresh.",
        )


def restore(state: State, checkpoint: Checkpoint, passed_over: list[str]) -> None:
    """Put the cursor and the counters where the checkpoint left them."""
    manifest, run = checkpoint.manifest, state.run
    state.step = manifest.step
    state.tokens = manifest.tokens
    state.supervised_tokens = manifest.supervised_tokens
    state.best_eval_loss = manifest.best_eval_loss
    state.best_step = manifest.best_step
    state.evaluated_step = manifest.evaluated_step
    state.skipped_before = manifest.step - manifest.optimizer_steps
    state.metrics = dict(manifest.metrics)
    state.checkpoints = [
        known
        for known in list_checkpoints(run.directory.checkpoints_path)
        if known.step <= manifest.step
    ]
    state.engine.load_state(manifest.engine)
    run.hooks.load_state(manifest.plugins)
    if run.is_main:
        run.events.write(
            "resume", step=state.step, checkpoint=checkpoint.path.name, passed_over=passed_over
        )


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
    run = state.run
    size = run.recipe.train.micro_batch_size
    pin = state.engine.device.type == "cuda"

    def make(step: int) -> Step:
        plan = plan_step(state.order, index, step, size, run.rank, run.world_size)
        return collate_plan(plan, index, state.collator, pin=pin)

    with Prefetcher(make, range(state.step + 1, state.total_steps + 1)) as steps:
        yield steps

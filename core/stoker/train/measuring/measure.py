"""Builds what a run would build, takes three steps, and says what the last one held."""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from stoker.dispatch import HOOK_NAMES, Hooks, hook_kind
from stoker.errors import ExitCode, StokerError, UsageError
from stoker.plan.architecture import read_architecture
from stoker.plan.measured import Measured, Setting
from stoker.plan.memory import MOMENTS
from stoker.registry import make_plugins
from stoker.run.context import Outcome, Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.train import build
from stoker.train.distributed import place_from_environment
from stoker.train.loop import run_micro_batches
from stoker.train.loss import CausalLMLoss
from stoker.train.measuring.batches import make_step, tensors_of
from stoker.train.measuring.components import Components
from stoker.train.measuring.fake import fake_ranks, fake_tensors
from stoker.train.measuring.peaks import by_component, described, peaks
from stoker.train.measuring.storages import StorageLog
from stoker.train.measuring.watching import WatchedEngine

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.train.engine import Engine
    from stoker.train.state import State

STEPS = 3
"""The first makes optimizer states, the second is steady; DDP rebuilds its buckets in between."""


def measure(recipe: Recipe, setting: Setting, *, store: object = None) -> Measured:
    """Bytes alive on this rank in the third step.

    Where several ranks are real, all of them call this, each with the `store` through which they meet,
    unless there is a process group. Raises `StokerError` for what cannot be built, or not be measured.
    """
    if not setting.fake:
        return _measure(recipe, setting, store)
    try:
        return _measure(recipe, setting, store)
    except StokerError:
        raise
    except Exception as error:
        plugins = ", ".join(recipe.plugins) or "none"
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            "this recipe cannot train with tensors that have no memory and ranks that do not exist "
            f"(plugins: {plugins}): {type(error).__name__}: {reason}",
            hint="Measure a smaller model of its kind with real ones.",
        ) from error


def _measure(recipe: Recipe, setting: Setting, store: object) -> Measured:
    started = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if setting.fake:
            stack.enter_context(fake_ranks(setting.ranks, setting.nodes))
        log = stack.enter_context(StorageLog())
        run = _make_run(recipe, Path(folder), store)
        try:
            model = _construct(run)
            if setting.fake:
                log.fake_mode = stack.enter_context(fake_tensors())
            state = _place(run, model, fake=setting.fake)
            components, before = _take_steps(state, setting, log)
            at_peaks = peaks(before, log.changes)
            run.hooks.notify("on_run_end", run=run, outcome=Outcome(ExitCode.DONE))
        except BaseException as error:
            run.hooks.tell_failure(run=run, error=error)
            raise
    return Measured(
        moments={moment: by_component(at_peaks[moment], components.of) for moment in MOMENTS},
        alive={moment: described(at_peaks[moment], components.of) for moment in MOMENTS},
        rank=run.rank,
        seconds=time.monotonic() - started,
    )


def _make_run(recipe: Recipe, folder: Path, store: object) -> Run:
    """A run whose events go nowhere, with the plugins that take part in building."""
    place = place_from_environment()
    return Run(
        recipe=recipe,
        hooks=Hooks(
            {name: plugin for name, plugin in make_plugins(recipe.plugins).items() if _builds(plugin)}
        ),
        directory=RunDirectory(folder / "run"),
        events=EventWriter(Path(os.devnull), attempt=0, rank=place.rank),
        rank=place.rank,
        world_size=place.world_size,
        local_rank=place.local_rank,
        store=store,
    )


def _builds(plugin: Any) -> bool:
    """Whether a plugin changes what is built, rather than looking on or listening to a cloud."""
    names = [name for name in HOOK_NAMES if hook_kind(name) in ("stage", "own") or name in _COLLECTED]
    return any(hasattr(getattr(plugin, name, None), "stoker_impl") for name in names)


_COLLECTED = ("collect_model_kwargs", "collect_initial_values")


def _construct(run: Run) -> nn.Module:
    """The adapted model on the meta device, where it takes no memory, and the engine."""
    if compilers := run.hooks.implementing("compile_model"):
        raise UsageError(
            f"what plugin {compilers[0]!r} compiles allocates memory where nobody can look on.",
            hint=f"Measure without it: --set plugins.{compilers[0]}.enabled=false",
        )
    run.hooks.notify("on_run_start", run=run)
    run.model_directory = build.locate_model(run)
    return build.construct_trainable(run, build.build_engine(run))


def _place(run: Run, model: nn.Module, *, fake: bool) -> State:
    run.engine.shard(model)
    build.attach_optimizer(run, model)
    run.engine.load(_AnyValues(run.parameter_shapes))
    state = build.assemble_state(run, _NoRows(), model)
    if fake and isinstance(state.loss, CausalLMLoss):
        config = json.loads((run.model_directory / "config.json").read_text("utf-8"))
        state.loss.assume(returns_logits=not read_architecture(config).changes_logits)
    return state


def _take_steps(state: State, setting: Setting, log: StorageLog) -> tuple[Components, dict[Any, int]]:
    """Train; returns what was alive before the last step, and how to sort what came then."""
    engine, size = state.engine, setting.micro_batch
    vocab_size = _vocab_size(state.model)
    components = Components(vocab_size, {size.supervised, size.tokens})
    state.engine = cast("Engine", WatchedEngine(engine, log, components))
    state.model.register_forward_hook(lambda *_: setattr(log, "moment", "loss"))
    before: dict[Any, int] = {}
    for number in range(1, STEPS + 1):
        step = make_step(number, setting, vocab_size, engine.rank)
        for tensor in tensors_of(step):
            log.ignore(tensor)
        log.moment = "forward"
        components.note_held(log, engine)
        if number == STEPS:
            gc.collect()  # what the building left in cycles is not the step's
        before = log.alive()
        log.changes.clear()
        _take_step(state, step)
        components.note_held(log, engine)
    return components, before


def _take_step(state: State, step: Any) -> None:
    """As `stoker.train.loop.train` does, without looking on."""
    engine = state.engine
    state.step = step.plan.step
    run_micro_batches(state, step)
    engine.finish_gradients()
    engine.clip_gradients(state.run.recipe.train.max_grad_norm)
    engine.step(state.schedule(state.step))


def _vocab_size(model: nn.Module) -> int:
    config: Any = model.config
    return int(config.get_text_config().vocab_size)


class _AnyValues:
    """A `WeightSource` of small random numbers: what a step holds does not depend on its weights."""

    optimizer_steps = 0

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        self._shapes = shapes

    def has(self, name: str, kind: str) -> bool:
        """True for weights; buffers are as the model makes them."""
        return kind == "weight"

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        """None."""
        return {}

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Normal with a standard deviation of 0.02."""
        stop = self._shapes[name].numel() if stop is None else stop
        return torch.randn(stop - start) * 0.02


class _NoRows:
    """An `Order` of nothing: batches are made, not read."""

    num_rows = 0
    steps_per_epoch = float(STEPS)

    def rows(self, step: int) -> list[int]:
        """None."""
        return []

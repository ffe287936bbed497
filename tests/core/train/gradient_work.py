"""What ranks of the pool do for `test_gradients.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from stoker.data.batches import Collator, collate, collate_plan, cut_by_length, plan_rows
from stoker.dispatch import Hooks
from stoker.errors import StokerError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.run.context import Run
from stoker.train.coverage import GradientCoverage
from stoker.train.distributed import place_from_environment
from stoker.train.loop import run_micro_batches
from stoker.train.rng import derive_seed
from stoker_plugins.packing.batching import BinBatching
from stoker_plugins.packing.collate import one_after_the_other


class RandomRows:
    """An index of random rows: some short, some with few supervised tokens."""

    def __init__(self, lengths: list[int], seed: int) -> None:
        import numpy as np

        generator = np.random.default_rng(seed)
        self.lengths = np.asarray(lengths)
        self.rows = []
        for length in lengths:
            supervised = generator.random(length) < generator.random()
            supervised[-1] = True
            self.rows.append((generator.integers(0, 256, length).astype("int32"), supervised))
        self.supervised_counts = np.asarray([int(mask[1:].sum()) for _, mask in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, number: int) -> Any:
        return self.rows[number]


def build(folder: str, plugins: dict[str, Any] | None = None) -> Any:
    """A state with the tiny model under the default engine, without a run directory."""
    from stoker.testing import tiny_recipe
    from stoker.train import build as building
    from stoker.train.loss import CausalLMLoss
    from stoker.train.optimizer import default_optimizer, parameter_groups

    place = place_from_environment()
    own = Path(folder) / f"rank-{place.rank}-of-{place.world_size}"
    own.mkdir(exist_ok=True)
    recipe = tiny_recipe(own, ["train.precision=fp32"])
    run: Any = Run(
        recipe=recipe,
        hooks=Hooks(plugins),
        directory=None,  # type: ignore[arg-type]
        events=None,  # type: ignore[arg-type]
        rank=place.rank,
        world_size=place.world_size,
        local_rank=place.local_rank,
    )
    run.model_directory = building.locate_model(run)
    engine = building.build_engine(run)
    model = building.build_model(run, engine)
    engine.attach(default_optimizer(parameter_groups(model, run.parameter_shapes, 0.0), engine.regime))
    values = run.hooks.collect_mapping("collect_initial_values", run=run, model=model)
    engine.load(building.weight_source(run, model, values, []))
    state: Any = type("TinyState", (), {})()
    state.run, state.engine, state.model, state.seed = run, engine, model, 0
    state.loss = CausalLMLoss(model)
    return state


_state: Any = None


def gradient(
    folder: str, lengths: list[int], seed: int, micro_batch_size: int, packed: bool = False
) -> Path:
    """Accumulate the gradient of one step over all ranks and write rank 0's copy to a file."""
    global _state
    _state = _state or build(folder)
    index: Any = RandomRows(lengths, seed)
    run, engine = _state.run, _state.engine
    rows = range(len(lengths))
    batching = cut_by_length(micro_batch_size)
    collator: Collator = collate
    if packed:
        batching = BinBatching(run, tokens=micro_batch_size * max(lengths))
        collator = one_after_the_other
    plan = plan_rows(1, rows, index, batching, run.rank, run.world_size)
    loss = run_micro_batches(_state, collate_plan(plan, index, collator))
    engine.finish_gradients()
    if run.world_size > 1:
        torch.distributed.all_reduce(loss)
    tensors = {name: p.grad.clone() for name, p in _state.model.named_parameters()}
    tensors["loss"] = loss
    engine.optimizer.zero_grad(set_to_none=True)
    name = f"{derive_seed(seed, *lengths, micro_batch_size, int(packed))}-{run.world_size}.safetensors"
    path = Path(folder) / name
    if run.is_main:
        save_file(tensors, path)
    return path


def gradient_on_ranks(**arguments: Any) -> str:
    """The same, with a result that JSON can carry."""
    return str(gradient(**arguments))


def relative_difference(one: Path, other: Path) -> float:
    """Norm of the difference of two gradients, relative to the norm of the first; loss included.

    Of the whole gradient: a row of two tokens has no gradient in its queries and keys but noise.
    """
    a, b = load_file(one), load_file(other)
    difference = sum(float((a[name] - b[name]).double().square().sum()) for name in a)
    return (difference / sum(float(value.double().square().sum()) for value in a.values())) ** 0.5


class AddsDeadWeight(Plugin[PluginConfig]):
    """A parameter that no forward uses."""

    @hookimpl
    def patch_model(self, model: torch.nn.Module) -> None:
        model.register_parameter("dead", torch.nn.Parameter(torch.ones(3)))

    @hookimpl
    def collect_initial_values(self, model: torch.nn.Module) -> dict[str, Any]:
        return {"dead": lambda shape, generator, read: torch.ones(shape)}


def dead_weight(folder: str) -> str:
    """What is said in the first step of a model with a dead weight."""
    state = build(folder, {"adds": AddsDeadWeight(PluginConfig())})
    index: Any = RandomRows([9, 5, 7, 3], 0)
    plan = plan_rows(1, range(4), index, cut_by_length(1), state.run.rank, state.run.world_size)
    try:
        run_micro_batches(state, collate_plan(plan, index))
        state.engine.finish_gradients()
        GradientCoverage(state).observe(1.0)
    except StokerError as error:
        return error.message
    return "nothing"

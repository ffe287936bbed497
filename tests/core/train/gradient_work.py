"""What ranks of the pool do for `test_gradients.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from stoker.data.batches import collate_plan, plan_rows
from stoker.dispatch import Hooks
from stoker.run.context import Run
from stoker.train.distributed import place_from_environment
from stoker.train.loop import run_micro_batches
from stoker.train.rng import derive_seed


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


def build(folder: str, precision: str = "fp32", micro_batch_size: int = 1) -> Any:
    """A state with the tiny model under the default engine, without a run directory."""
    from stoker.testing import tiny_recipe
    from stoker.train import build as building
    from stoker.train.loss import CausalLMLoss
    from stoker.train.optimizer import default_optimizer, parameter_groups

    place = place_from_environment()
    own = Path(folder) / f"rank-{place.rank}-of-{place.world_size}"
    own.mkdir(exist_ok=True)
    recipe = tiny_recipe(own, [f"train.precision={precision}"])
    run: Any = Run(
        recipe=recipe,
        hooks=Hooks(),
        directory=None,  # type: ignore[arg-type]
        events=None,  # type: ignore[arg-type]
        rank=place.rank,
        world_size=place.world_size,
        local_rank=place.local_rank,
    )
    run.model_directory = building.locate_model(run)
    engine = building.build_engine(run)
    model = building.build_model(run, engine)
    engine.attach(default_optimizer(parameter_groups(model, 0.0), engine.regime))
    engine.load(building.weight_source(run, model, {}, []))
    state: Any = type("TinyState", (), {})()
    state.run, state.engine, state.model, state.seed = run, engine, model, 0
    state.loss = CausalLMLoss(model)
    return state


_state: Any = None


def gradient(folder: str, lengths: list[int], seed: int, micro_batch_size: int) -> Path:
    """Accumulate the gradient of one step over all ranks and write rank 0's copy to a file."""
    global _state
    _state = _state or build(folder)
    index: Any = RandomRows(lengths, seed)
    run, engine = _state.run, _state.engine
    rows = range(len(lengths))
    plan = plan_rows(1, rows, index, micro_batch_size, run.rank, run.world_size)
    loss = run_micro_batches(_state, collate_plan(plan, index, pad_id=0))
    engine.finish_gradients()
    if run.world_size > 1:
        torch.distributed.all_reduce(loss)
    tensors = {name: p.grad.clone() for name, p in _state.model.named_parameters()}
    tensors["loss"] = loss
    engine.optimizer.zero_grad(set_to_none=True)
    name = f"{derive_seed(seed, *lengths, micro_batch_size)}-{run.world_size}.safetensors"
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

"""The states of optimizers, as checkpoints hold them: tensors, by the names the optimizer gives them.

Most have their parameter's shape. Some have not, such as the scales of 8-bit moments or Adafactor's rows
and columns: those are stored whole all the same, and stay with the engine that wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stoker.errors import StokerError, UsageError

if TYPE_CHECKING:
    from stoker.train.weights import WeightSource

STEP = "step"
"""An optimizer's own count of updates: the same for all parameters, so the manifest holds it."""


def states_of(
    optimizer: torch.optim.Optimizer, name: str, parameter: nn.Parameter
) -> Iterator[tuple[str, Tensor]]:
    """What the optimizer keeps for a parameter, but for its step count.

    Raises `StokerError` for what is no tensor: a checkpoint could not restore it.
    """
    for kind, value in optimizer.state.get(parameter, {}).items():
        if kind == STEP or value is None:
            continue
        if not isinstance(value, Tensor):
            raise StokerError(
                f"{type(optimizer).__name__} keeps {kind!r} for {name!r}, which is a "
                f"{type(value).__name__} and no tensor, and cannot be saved.",
                hint="Use another optimizer.",
            )
        yield kind, value


def make_states(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimizer make the states of all parameters, for `states_to_restore` to fill.

    A step with a learning rate and gradients of 0: so they have the dtypes and are in the memory that
    the optimizer wants, paged memory for example. To be called before weights are loaded, for what an
    optimizer does with them is its own affair; options that the step changed are put back.
    """
    before = [dict(group) for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, values in zip(optimizer.param_groups, before, strict=True):
        group.update(values)


def states_to_restore(
    optimizer: torch.optim.Optimizer, source: WeightSource, name: str, parameter: nn.Parameter
) -> Iterator[tuple[str, Tensor]]:
    """Kind and place of each state that `source` has for a parameter; the step count is set.

    Drops what `make_states` made for a parameter that had no states when it was saved. Raises
    `UsageError` where the states are those of another optimizer.
    """
    stored = source.optimizer_states(name)
    if not stored:
        optimizer.state.pop(parameter, None)
        return
    state = optimizer.state[parameter]
    places = dict(states_of(optimizer, name, parameter))
    compare_states(optimizer, name, stored, {kind: place.shape for kind, place in places.items()})
    set_step(state, source.optimizer_steps)
    yield from places.items()


def compare_states(
    optimizer: torch.optim.Optimizer,
    name: str,
    stored: Mapping[str, torch.Size],
    expected: Mapping[str, torch.Size],
) -> None:
    """Raise `UsageError` where a checkpoint holds the states of another optimizer for a parameter.

    Both map kinds of states to their shapes.
    """
    if dict(stored) != dict(expected):
        raise UsageError(
            f"the checkpoint holds other optimizer states than {type(optimizer).__name__} keeps: "
            f"{_words(stored)} of {name!r} where it keeps {_words(expected)}.",
            hint="Go on with the optimizer of the run, or start a new one: stoker run --fresh.",
        )


def _words(shapes: Mapping[str, torch.Size]) -> str:
    return ", ".join(f"{kind} {list(shape)}" for kind, shape in sorted(shapes.items())) or "nothing"


def set_step(state: dict[str, Any], steps: int) -> None:
    """Set the optimizer's own count of updates in the state of one parameter, where it keeps one."""
    if isinstance(state.get(STEP), Tensor):
        state[STEP].fill_(steps)
    elif STEP in state:
        state[STEP] = steps

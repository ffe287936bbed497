"""Puts Liger's kernels into a model that is built.

Liger sets the forward of the instance's modules, and puts its rotary embedding and classes into the
Python module of the model's class too, which other models of the process share: there everything is
put back when the run is over.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import nn

from stoker.errors import PluginError
from stoker_plugins.kernels import machine

if TYPE_CHECKING:
    from stoker_plugins.kernels import KernelsConfig

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "rope": ("rope",),
    "rms_norm": ("rms_norm",),
    "swiglu": ("swiglu", "geglu"),
}
"""By option, what Liger calls it; a type of model has one of two kinds of gated MLP."""

NEVER = ("cross_entropy", "fused_linear_cross_entropy", "layer_norm", "relu_squared")
"""What Liger would replace by itself besides: the loss is the core's, the rest no option names."""

_SILU = ("silu", "swish")


@dataclass
class Applied:
    """Which kernels run, and why not the others that are asked for."""

    used: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Reasons by option."""
    reason: str = ""
    """Why none of them runs, where that has one reason."""
    replaced: list[tuple[ModuleType, dict[str, Any]]] = field(default_factory=list)
    """What was in the Python modules before."""

    def describe(self) -> str:
        """One sentence for a `note` event."""
        if self.reason:
            return f"kernels: PyTorch's own are used, not Liger's: {self.reason}"
        missing = "".join(f"; not {name}: {reason}" for name, reason in self.left_out.items())
        return f"kernels: Liger's for {', '.join(self.used)}{missing}"

    def undo(self) -> None:
        """Put back what other models of the process use."""
        for module, before in self.replaced:
            vars(module).update(before)
        self.replaced.clear()


def apply(config: KernelsConfig, model: nn.Module, device: str) -> Applied:
    """Replace what can be. Raises `PluginError` where `config.required` and something cannot."""
    problem = machine.read(device).problem
    if problem:
        return Applied(reason=problem)
    from liger_kernel.transformers.monkey_patch import (
        MODEL_TYPE_TO_APPLY_LIGER_FN,
        _apply_liger_kernel_to_instance,
    )

    model_type = getattr(getattr(model, "config", None), "model_type", None)
    patch = MODEL_TYPE_TO_APPLY_LIGER_FN.get(model_type)
    if patch is None:
        applied = Applied(reason=f"Liger has none for models of type {model_type!r}")
    else:
        applied = _choose(config, model, patch)
    if config.required and (applied.reason or applied.left_out):
        raise PluginError(
            f"plugins.kernels.required: {applied.describe().removeprefix('kernels: ')}.",
            hint="Set it to false, or switch off what Liger does not have.",
        )
    if applied.used:
        keywords = {name: name in _named(applied.used) for name in (*_named(PARAMETERS), *NEVER)}
        with _remembering(model, applied):
            _apply_liger_kernel_to_instance(model=model, **keywords)
    return applied


def _named(options: Any) -> list[str]:
    return [parameter for option in options for parameter in PARAMETERS[option]]


def _choose(config: KernelsConfig, model: nn.Module, patch: Callable[..., None]) -> Applied:
    """What Liger's function for the model's type takes, and does unless told otherwise.

    It knows some kernels that it leaves off by default, and raises where they are asked for.
    """
    parameters = inspect.signature(patch).parameters
    wanted = {"rope": config.rope, "rms_norm": config.rms_norm, "swiglu": config.swiglu}
    model_config: Any = model.config
    used: list[str] = []
    left_out: dict[str, str] = {}
    for option, names in PARAMETERS.items():
        if not wanted[option]:
            continue
        on = [name for name in names if name in parameters and parameters[name].default is True]
        activation = _activation(model_config)
        if not on:
            left_out[option] = f"Liger has none for models of type {model_config.model_type!r}"
        elif "swiglu" in on and activation not in _SILU:
            # Liger does not look, and would compute another function.
            left_out[option] = f"the model's activation is {activation!r}"
        else:
            used.append(option)
    if not used:
        return Applied(reason="; ".join(dict.fromkeys(left_out.values())))
    return Applied(tuple(used), left_out)


def _activation(config: Any) -> str | None:
    text = config.get_text_config()
    found: str | None = getattr(text, "hidden_act", None) or getattr(text, "hidden_activation", None)
    return found


@contextmanager
def _remembering(model: nn.Module, applied: Applied) -> Iterator[None]:
    """Note what changes in the Python modules of the model's classes; undone where it fails."""
    names = dict.fromkeys(kind.__module__ for kind in type(model).__mro__)
    modules = [sys.modules[name] for name in names if name.startswith("transformers.models.")]
    before = [(module, dict(vars(module))) for module in modules]
    try:
        yield
    except BaseException:
        applied.replaced = before
        applied.undo()
        raise
    for module, values in before:
        changed = {name: value for name, value in values.items() if vars(module)[name] is not value}
        applied.replaced.append((module, changed))

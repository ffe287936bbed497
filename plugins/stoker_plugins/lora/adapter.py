"""Injects PEFT's layers into a model and says what their first values are."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peft
import torch
from peft.tuners.lora import Embedding, LoraLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from stoker.errors import PluginError
from stoker.train.weights import SafetensorsSource

if TYPE_CHECKING:
    from stoker.train.weights import InitialValue, Read
    from stoker_plugins.lora import LoraConfig

ADAPTER = "default"
FILE_PREFIX = "base_model.model."


def peft_config(config: LoraConfig, base: str) -> peft.LoraConfig:
    """The same options in PEFT's words."""
    targets = config.targets
    return peft.LoraConfig(
        r=config.rank,
        # PEFT types it as an integer; whole values are given as such, so that files look usual.
        lora_alpha=int(config.alpha) if config.alpha.is_integer() else config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=config.rslora,
        use_dora=config.dora,
        modules_to_save=list(config.modules_to_save) or None,
        task_type=peft.TaskType.CAUSAL_LM,
        base_model_name_or_path=base,
    )


def inject(model: nn.Module, config: LoraConfig, base: str) -> None:
    """Replace the target layers in place; only the adapter stays trainable.

    Raises `PluginError` for targets that match no layer.
    """
    names = [name for name, _ in model.named_modules()]
    for wanted in config.modules_to_save:
        if not any(name == wanted or name.endswith(f".{wanted}") for name in names):
            raise PluginError(f"plugins.lora.modules_to_save: no module is called {wanted!r}.")
    try:
        peft.inject_adapter_in_model(peft_config(config, base), model, ADAPTER)
    except ValueError as error:
        raise PluginError(
            f"plugins.lora.targets: {str(error).splitlines()[0]}",
            hint="Name endings of linear layers, such as ['q_proj', 'v_proj'], or 'all-linear'.",
        ) from error


def initial_values(model: nn.Module, config: LoraConfig) -> dict[str, InitialValue]:
    """First values of every parameter that the base model's files do not name.

    Adapted layers keep their weight as `base_layer.weight`, an alias of the file's `weight`. A is
    uniform (Kaiming, a = sqrt(5)) and B zero, so that training begins at the base model.
    """
    parameters = dict(model.named_parameters())
    values: dict[str, InitialValue] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            values |= _layer_values(name, module)
        elif isinstance(module, ModulesToSaveWrapper):
            values |= _saved_module_values(name, module, parameters)
    values = {name: value for name, value in values.items() if name in parameters}
    if config.start_from is not None:
        values |= _values_of(config.start_from, model)
    return values


def _layer_values(name: str, layer: Any) -> dict[str, InitialValue]:
    values: dict[str, InitialValue] = {
        f"{name}.base_layer.{local}": f"{name}.{local}"
        for local, _ in layer.base_layer.named_parameters()
    }
    # An embedding's rows are what a linear layer's columns are.
    norm_dimension = 0 if isinstance(layer, Embedding) else 1
    values |= {
        f"{name}.lora_A.{ADAPTER}.weight": _kaiming_uniform,
        f"{name}.lora_B.{ADAPTER}.weight": _zeros,
        f"{name}.lora_embedding_A.{ADAPTER}": _zeros,
        f"{name}.lora_embedding_B.{ADAPTER}": _normal,
        f"{name}.lora_magnitude_vector.{ADAPTER}.weight": _norm_of(
            f"{name}.base_layer.weight", norm_dimension
        ),
    }
    return values


def _saved_module_values(
    name: str, wrapper: Any, parameters: dict[str, nn.Parameter]
) -> dict[str, InitialValue]:
    """A module that is trained whole begins as a copy of the base's, tied ones included."""
    names = {id(parameter): known for known, parameter in parameters.items()}
    values: dict[str, InitialValue] = {}
    for local, parameter in wrapper.original_module.named_parameters():
        values[f"{name}.original_module.{local}"] = f"{name}.{local}"
        values[f"{name}.modules_to_save.{ADAPTER}.{local}"] = names[id(parameter)]
    return values


def _values_of(directory: Path, model: nn.Module) -> dict[str, InitialValue]:
    """Values of an adapter on disk, under this model's names."""
    source = SafetensorsSource(directory, stem="adapter_model")
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    names = file_names(model)
    found, wanted = set(source.names()), set(names.values())
    problems = [f"it has no tensor {name!r}" for name in sorted(wanted - found)]
    problems += [f"the recipe has no place for its {name!r}" for name in sorted(found - wanted)]
    problems += [
        f"its {file_name!r} is {list(source.shape(file_name))}, not {list(shapes[name])}"
        for name, file_name in names.items()
        if file_name in found and source.shape(file_name) != shapes[name]
    ]
    if problems:
        raise PluginError(
            f"plugins.lora.start_from: {directory} does not fit: {problems[0]}"
            + (f", and {len(problems) - 1} more such." if len(problems) > 1 else "."),
            hint="The adapter was made for other targets or another model.",
        )
    return {name: _read_from(source, file_name) for name, file_name in names.items()}


def file_names(model: nn.Module) -> dict[str, str]:
    """The name that PEFT gives each trainable tensor in `adapter_model.safetensors`."""
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    by_identity = {id(parameter): name for name, parameter in trainable.items()}
    renamed = peft.get_peft_model_state_dict(model, dict(trainable), save_embedding_layers=False)
    return {by_identity[id(value)]: FILE_PREFIX + key for key, value in renamed.items()}


def _kaiming_uniform(shape: torch.Size, generator: torch.Generator, read: Read) -> Tensor:
    value = torch.empty(shape)
    nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=generator)
    return value


def _zeros(shape: torch.Size, generator: torch.Generator, read: Read) -> Tensor:
    return torch.zeros(shape)


def _normal(shape: torch.Size, generator: torch.Generator, read: Read) -> Tensor:
    return torch.randn(shape, generator=generator)


def _norm_of(name: str, dimension: int) -> Callable[..., Tensor]:
    """DoRA's magnitude: the norm of the base's weight, since the update begins at 0."""

    def norm(shape: torch.Size, generator: torch.Generator, read: Read) -> Tensor:
        value: Tensor = torch.linalg.vector_norm(read(name).float(), dim=dimension)
        return value.view(shape)

    return norm


def _read_from(source: SafetensorsSource, file_name: str) -> Callable[..., Tensor]:
    def value(shape: torch.Size, generator: torch.Generator, read: Read) -> Tensor:
        return source.read(file_name, "weight").view(shape)

    return value

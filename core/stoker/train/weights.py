"""Where tensors come from: files of a pretrained model, random values, adapters, checkpoints.

All of them are `WeightSource`s, so an engine has one way to load. Ranges are row-major and flat,
so that a sharded engine reads its part only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import safe_open
from torch import Tensor, nn

from stoker.errors import StokerError, UsageError
from stoker.train.rng import derive_seed, generator_for

Read = Callable[[str], Tensor]
InitialValue = str | Callable[[torch.Size, torch.Generator, Read], Tensor]
"""Another tensor's name to copy, or a function of (shape, generator, read) giving a CPU tensor."""


class WeightSource(Protocol):
    """Gives values of tensors by name, as 1-D CPU tensors of a row-major range."""

    optimizer_steps: int
    """Updates that the optimizer states have seen; 0 where there are none."""

    def has(self, name: str, kind: str) -> bool:
        """Whether `read` of this name and kind can succeed."""
        ...

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        """Shapes of the optimizer states there are for a parameter, by kind: `exp_avg` for example."""
        ...

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Elements `start` to `stop` (default: the end) of the flattened tensor."""
        ...


class SafetensorsSource:
    """Tensors of a Hugging Face directory, by the names they have in its files."""

    optimizer_steps = 0

    def __init__(self, directory: Path, stem: str = "model") -> None:
        self.directory = directory
        self._files = _files_by_tensor(directory, stem)
        self._open: dict[str, Any] = {}

    def names(self) -> Iterable[str]:
        """All tensor names in the files."""
        return self._files.keys()

    def shape(self, name: str) -> torch.Size:
        """Shape of a tensor, from the header of its file."""
        return torch.Size(self._slice(name).get_shape())

    def _slice(self, name: str) -> Any:
        file = self._files[name]
        if file not in self._open:
            self._open[file] = safe_open(self.directory / file, framework="pt")
        return self._open[file].get_slice(name)

    def has(self, name: str, kind: str) -> bool:
        """True for weights and buffers that a file holds."""
        return kind in ("weight", "buffer") and name in self._files

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        """None."""
        return {}

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Read only the rows that the range touches."""
        tensor_slice = self._slice(name)
        shape = tensor_slice.get_shape()
        if not shape or (start == 0 and stop is None):
            return _flat_range(self._open[self._files[name]].get_tensor(name), start, stop)
        row_length = max(1, torch.Size(shape[1:]).numel())
        stop = torch.Size(shape).numel() if stop is None else stop
        first_row, last_row = start // row_length, -(-stop // row_length)
        rows: Tensor = tensor_slice[first_row:last_row]
        return _flat_range(rows, start - first_row * row_length, stop - first_row * row_length)


def _flat_range(tensor: Tensor, start: int, stop: int | None) -> Tensor:
    return tensor.reshape(-1)[start:stop]


def _files_by_tensor(directory: Path, stem: str) -> dict[str, str]:
    index = directory / f"{stem}.safetensors.index.json"
    if index.is_file():
        weight_map: dict[str, str] = json.loads(index.read_text())["weight_map"]
        return weight_map
    single = directory / f"{stem}.safetensors"
    if not single.is_file():
        raise UsageError(
            f"{directory} holds no safetensors weights.",
            hint="Convert the model to safetensors, or set model.initial_weights = 'random' to "
            "train it from scratch.",
        )
    with safe_open(single, framework="pt") as file:
        return dict.fromkeys(file.keys(), single.name)


class TensorsSource:
    """Tensors in memory, by name."""

    optimizer_steps = 0

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def has(self, name: str, kind: str) -> bool:
        """True for weights and buffers."""
        return kind in ("weight", "buffer") and name in self.tensors

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        """None."""
        return {}

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """A view."""
        return _flat_range(self.tensors[name].detach(), start, stop)


def pretrained_source(
    directory: Path, shapes: Mapping[str, torch.Size], known_elsewhere: Mapping[str, InitialValue]
) -> WeightSource:
    """Weights of a pretrained model under the names of this model's parameters, given their shapes.

    `known_elsewhere` are the parameters that plugins give values to; an alias among them names a
    tensor that the files must hold.

    Read straight from the files where they use the same names, which is the rule. Else
    transformers loads the model on the CPU and converts (fused experts, renamed modules).
    """
    source = SafetensorsSource(directory)
    expected = shapes.keys() - known_elsewhere.keys()
    expected |= {
        alias
        for alias in known_elsewhere.values()
        if isinstance(alias, str) and alias not in known_elsewhere
    }
    if expected <= set(source.names()):
        _compare_shapes(source, shapes, known_elsewhere)
        return source
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(directory, dtype="auto", local_files_only=True)
    missing = expected - set(loaded.state_dict())
    if missing:
        raise StokerError(
            f"{directory} has no weights for {len(missing)} of the model's parameters, "
            f"for example {sorted(missing)[0]!r}.",
            hint="The files belong to another architecture.",
        )
    return TensorsSource(loaded.state_dict())


def _compare_shapes(
    source: SafetensorsSource,
    shapes: Mapping[str, torch.Size],
    known_elsewhere: Mapping[str, InitialValue],
) -> None:
    """Raises `StokerError` for a tensor whose shape in the files is not the model's."""
    for name, shape in shapes.items():
        value = known_elsewhere.get(name, name)
        if isinstance(value, str) and source.has(value, "weight"):
            found = source.shape(value)
            if found != shape:
                raise StokerError(
                    f"{source.directory}: {value!r} is {list(found)} in the files, but "
                    f"{list(shape)} by config.json.",
                    hint="Config and weights belong to different models.",
                )


class RandomSource:
    """Initial weights as the architecture defines them, each keyed by seed and parameter name.

    Equal on every rank and for every way of sharding: a module's parameter is made whole on the
    CPU from a generator seeded by its name.
    """

    optimizer_steps = 0

    def __init__(self, modules: Mapping[str, nn.Module], seed: int) -> None:
        """`modules`: the model's by name, "" being the model, before adapters renamed any."""
        self.modules = modules
        self.seed = seed

    def has(self, name: str, kind: str) -> bool:
        """True for every parameter."""
        return kind == "weight"

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        """None."""
        return {}

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Run the model's own initialisation on a copy of one module."""
        module_name, _, local_name = name.rpartition(".")
        module = _empty_copy(self.modules[module_name])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "parameter", name))
            initialise = getattr(self.modules[""], "_init_weights", None)
            if initialise is not None:
                initialise(module)
        value = module._parameters[local_name]
        assert value is not None
        if torch.isnan(value).any():
            raise StokerError(
                f"no initial value is defined for {name!r}.",
                hint=f"{type(self.modules['']).__name__} has none for it; use pretrained weights.",
            )
        return _flat_range(value.detach(), start, stop)


def modules_as_built(model: nn.Module) -> dict[str, nn.Module]:
    """Copies of the model's modules by name, with its parameters: an engine may cut the model's."""
    return {name: _shallow_copy(module) for name, module in model.named_modules()}


def _shallow_copy(module: nn.Module) -> nn.Module:
    """A module with the same parameters, in a dictionary of its own."""
    # `copy.copy` would call the class, which FSDP has put another one in the place of.
    clone: nn.Module = object.__new__(type(module))
    clone.__dict__.update(module.__dict__)
    clone._parameters = dict(module._parameters)
    return clone


def _empty_copy(module: nn.Module) -> nn.Module:
    """The module alone, with its own parameters on the CPU in float32, all NaN."""
    clone = _shallow_copy(module)
    clone._modules = {}
    clone._parameters = {
        name: None
        if parameter is None
        else nn.Parameter(torch.full(parameter.shape, torch.nan), requires_grad=False)
        for name, parameter in module._parameters.items()
    }
    return clone


class InitialValuesSource:
    """Values of parameters that no file holds, from `collect_initial_values`, over another source."""

    optimizer_steps = 0

    def __init__(
        self,
        values: Mapping[str, InitialValue],
        shapes: Mapping[str, torch.Size],
        seed: int,
        base: WeightSource,
    ) -> None:
        self.values = values
        self.shapes = shapes
        self.seed = seed
        self.base = base

    def has(self, name: str, kind: str) -> bool:
        """True for what plugins define and what the base has."""
        return (kind == "weight" and name in self.values) or self.base.has(name, kind)

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        """The base's."""
        return self.base.optimizer_states(name)

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Follow an alias, call a function, or ask the base."""
        value = self.values.get(name)
        if value is None or kind != "weight":
            return self.base.read(name, kind, start, stop)
        if isinstance(value, str):
            return self.read(value, kind, start, stop)
        made = value(self.shapes[name], generator_for(self.seed, name), self._read_whole)
        return _flat_range(made, start, stop)

    def _read_whole(self, name: str) -> Tensor:
        flat = self.read(name, "weight")
        shape = self.shapes.get(name)
        return flat if shape is None else flat.view(shape)


@runtime_checkable
class PackedParameter(Protocol):
    """A frozen parameter that is kept in another form than its values, for example in 4 bits each.

    A plugin puts it on the meta device in `patch_model`, in the shape of its values. It takes no memory
    until `fill` reads the values and puts what `pack` makes of them in its place.
    """

    def pack(self, values: Tensor, device: torch.device) -> nn.Parameter:
        """The parameter that is used in training, on `device`; `values` have this one's shape."""
        ...


def copy_whole(source: WeightSource, name: str, parameter: nn.Parameter) -> None:
    """Read all of a parameter's values into it."""
    parameter.copy_(source.read(name, "weight").view(parameter.shape))


@torch.no_grad()
def fill(
    model: nn.Module,
    source: WeightSource,
    device: torch.device,
    fill_parameter: Callable[[WeightSource, str, nn.Parameter], None] = copy_whole,
) -> None:
    """Read every parameter and persistent buffer of a placed model, one at a time.

    `fill_parameter(source, name, parameter)` reads one that is not packed, or this rank's part of it.
    """
    for name, parameter in list(model.named_parameters()):
        if isinstance(parameter, PackedParameter):
            values = source.read(name, "weight").view(parameter.shape)
            module_name, _, local_name = name.rpartition(".")
            module = model.get_submodule(module_name)
            module._parameters[local_name] = parameter.pack(values, device)
        else:
            fill_parameter(source, name, parameter)
    for name, buffer in persistent_buffers(model):
        if source.has(name, "buffer"):
            buffer.copy_(source.read(name, "buffer").view(buffer.shape))


def persistent_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers that belong to the state dict, by name."""
    for module_name, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{module_name}.{name}".lstrip("."), buffer


def move_buffers(model: nn.Module, device: torch.device) -> None:
    """Put every buffer on `device`, in place."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = buffer.to(device)


def replace_parameters(model: nn.Module, make: Callable[[nn.Parameter], nn.Parameter]) -> None:
    """Put `make(parameter)` in the place of every parameter, keeping tied ones tied."""
    replaced: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                new = replaced.get(id(parameter))
                if new is None:
                    new = replaced[id(parameter)] = make(parameter)
                module._parameters[name] = new


class LayeredSource:
    """The first of several sources that has a tensor gives it."""

    def __init__(self, layers: Sequence[WeightSource]) -> None:
        self.layers = layers
        self.optimizer_steps = max(layer.optimizer_steps for layer in layers)

    def has(self, name: str, kind: str) -> bool:
        """True if any layer has it."""
        return any(layer.has(name, kind) for layer in self.layers)

    def optimizer_states(self, name: str) -> Mapping[str, torch.Size]:
        """Those of the first layer that has any."""
        return next((states for layer in self.layers if (states := layer.optimizer_states(name))), {})

    def read(self, name: str, kind: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Read from the first layer that has it. Raises `StokerError` where none has."""
        for layer in self.layers:
            if layer.has(name, kind):
                return layer.read(name, kind, start, stop)
        raise StokerError(f"no source has a value for {kind} {name!r}.")

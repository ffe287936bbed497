"""Linear layers whose weight is kept in 4 bits, and unpacked for each product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from bitsandbytes.nn.modules import Linear4bit, Params4bit
from torch import Tensor, nn

from stoker.errors import PluginError
from stoker_plugins.qlora import BLOCK

if TYPE_CHECKING:
    from stoker_plugins.qlora import QLoraConfig


class PackedWeight(Params4bit):
    """A weight on its way: shape and options of what `pack` makes of its values.

    A `stoker.train.weights.PackedParameter`.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedWeight:
        """What PEFT makes of a module to be trained whole; the engine refuses it with words."""
        return PackedWeight(
            torch.empty_like(self),
            requires_grad=self.requires_grad,
            compress_statistics=self.compress_statistics,
            quant_type=self.quant_type,
        )

    def pack(self, values: Tensor, device: torch.device) -> nn.Parameter:
        """The values in 4 bits each, quantized on `device` in blocks of 64 with a scale for each."""
        packed: Any = Params4bit(
            values.to(self.dtype),
            requires_grad=False,
            blocksize=BLOCK,
            compress_statistics=self.compress_statistics,
            quant_type=self.quant_type,
            quant_storage=self.quant_storage,
        )
        moved: nn.Parameter = packed.to(device)
        return moved


def quantize_layers(model: nn.Module, config: QLoraConfig, dtype: torch.dtype) -> None:
    """Put 4-bit layers in the places of linear ones, in place; `dtype` is that of their products.

    Raises `PluginError` where there is nothing to quantize.
    """
    chosen = list(_layers(model, config))
    if not chosen:
        raise PluginError(
            "plugins.qlora: the model has no linear layer that could be quantized.",
            hint=f"Loosen skip_modules; layers need a number of inputs that {BLOCK} divides.",
        )
    for name, layer in chosen:
        parent_name, _, local_name = name.rpartition(".")
        setattr(model.get_submodule(parent_name), local_name, _packed(layer, config, dtype))
    # PEFT asks for this before it adapts a 4-bit layer as one.
    model.is_loaded_in_4bit = True  # type: ignore[assignment]


def _layers(model: nn.Module, config: QLoraConfig) -> Iterator[tuple[str, nn.Linear]]:
    """Linear layers by name, without the head: the loss is sensitive to it, and it may be tied."""
    find_head: Any = model.get_output_embeddings
    head = find_head()
    for name, module in model.named_modules():
        skipped = any(name == end or name.endswith(f".{end}") for end in config.skip_modules)
        if (
            type(module) is nn.Linear
            and module is not head
            and not skipped
            and _has_whole_blocks(module)
        ):
            yield name, module


def _has_whole_blocks(layer: nn.Linear) -> bool:
    # bitsandbytes 0.50 unpacks others wrongly on CPUs; a model must not depend on the device.
    return layer.in_features % BLOCK == 0


def _packed(layer: nn.Linear, config: QLoraConfig, dtype: torch.dtype) -> nn.Module:
    packed = Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=dtype,
        device="meta",
    )
    packed.weight = PackedWeight(
        torch.empty(layer.weight.shape, dtype=dtype, device="meta"),
        compress_statistics=config.double_quantization,
        quant_type=config.quant_type,
    )
    packed.bias = layer.bias
    # It would lay the weights out anew in the first evaluation on a CPU, and back in the next step.
    packed.support_avx512bf16_for_cpu = False
    module: nn.Module = packed
    return module


def describe(model: nn.Module, config: QLoraConfig) -> str:
    """How many weights are in 4 bits, and the bytes they take."""
    packed = [p for p in model.parameters() if isinstance(p, Params4bit)]
    whole = [p for p in model.parameters() if not isinstance(p, Params4bit)]
    num_weights = sum(_num_weights(parameter) for parameter in packed)
    num_bytes = sum(packed_bytes(parameter) for parameter in packed)
    return (
        f"{num_weights / 1e6:,.0f} million weights of {len(packed)} layers are kept as "
        f"{config.quant_type}, in {num_bytes / 1e6:,.0f} MB; "
        f"{sum(p.numel() for p in whole) / 1e6:,.0f} million are not"
    )


def _num_weights(parameter: Any) -> int:
    return int(torch.Size(parameter.quant_state.shape).numel())


def packed_bytes(parameter: Any) -> int:
    """Bytes of a 4-bit weight with its scales."""
    state = parameter.quant_state
    tensors = [parameter.data, state.absmax]
    if state.state2 is not None:
        tensors.append(state.state2.absmax)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

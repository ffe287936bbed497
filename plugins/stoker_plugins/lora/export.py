"""Writes an adapter as PEFT does, or folds it into its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from safetensors.torch import save_file
from torch import Tensor, nn

from stoker.train.export import build_filled_model, build_model_on_meta, export_dtype, export_full
from stoker.train.weights import TensorsSource
from stoker_plugins.lora.adapter import ADAPTER, file_names

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.weights import WeightSource


def export_adapter(run: Run, source: WeightSource, directory: Path) -> None:
    """`adapter_model.safetensors` and `adapter_config.json`, under the names plain PEFT expects."""
    model: Any = build_model_on_meta(run)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    dtype = export_dtype(run)
    tensors = {
        file_name: source.read(name, "weight").view(shapes[name]).to(dtype).contiguous()
        for name, file_name in file_names(model).items()
    }
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config[ADAPTER]
    config.inference_mode = True
    config.save_pretrained(str(directory))
    run.tokenizer.save_pretrained(directory)


def export_merged(run: Run, source: WeightSource, directory: Path) -> None:
    """The base with the update added to its weights, as an ordinary model."""
    model = build_filled_model(run, source)
    tensors, unties = merged_tensors(model)
    export_full(run, TensorsSource(tensors), directory, unties=unties)


@torch.no_grad()
def merged_tensors(model: nn.Module) -> tuple[dict[str, Tensor], bool]:
    """Weights under the base model's names, and whether head and embedding have become different."""
    named = model.named_parameters(remove_duplicate=False)
    tensors = {name: parameter.detach() for name, parameter in named}
    ends = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[operator]
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            base: Any = module.base_layer
            # A tied weight is shared with a layer that is not adapted: merge into a copy.
            base.weight = nn.Parameter(base.weight.detach().clone())
            module.merge(safe_merge=True)
            tensors |= {f"{name}.{local}": p.detach() for local, p in base.named_parameters()}
        elif isinstance(module, ModulesToSaveWrapper):
            trained = module.modules_to_save[ADAPTER]
            tensors |= {f"{name}.{local}": p.detach() for local, p in trained.named_parameters()}
    return tensors, any(isinstance(end, LoraLayer | ModulesToSaveWrapper) for end in ends)

"""QLoRA: keeps the frozen base of an adapter in 4 bits a weight (Dettmers et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal
from stoker.errors import MissingRequirementError
from stoker.plan.facts import Quantized
from stoker.recipe.problems import Fix

if TYPE_CHECKING:
    from torch import nn

    from stoker.plan.situation import Situation
    from stoker.run.context import Run
    from stoker.train.state import State


QUANTIZED = ("nf4", "fp4")

BLOCK = 64
"""Weights that share a scale, as in the paper."""
_SCALES_PER_SCALE = 256
"""Scales of 8 bits that share one of their own, by double quantization."""


class QLoraConfig(PluginConfig):
    """How the base model's linear layers are kept."""

    quant_type: Literal["nf4", "fp4"] = Field(
        default="nf4", description="Sixteen levels spaced for normally distributed weights, or floats."
    )
    double_quantization: bool = Field(
        default=True,
        description="Quantize the scales too: 0.5 + 0.016 bytes a weight instead of 0.5 + 0.0625.",
    )
    skip_modules: list[str] = Field(
        default=[],
        description="Linear layers to leave in the compute dtype, as name endings; the head always is.",
    )


class QLora(Plugin[QLoraConfig]):
    """Quantize the frozen base to 4 bits through bitsandbytes while an adapter is trained on it.

    Matrix products are in the precision regime's compute dtype: weights are unpacked layer by layer.
    Paged optimizers and those in 8 bits, the paper's other half, come from the plugin `optimizers`.
    Exports take the base's own weights again, so `--merge` folds the adapter into the model as it was
    published, not as it was quantized.
    """

    Config: ClassVar[type[PluginConfig]] = QLoraConfig
    provides = ("quantization",)
    choices = tuple(Choice("quantization", value, {"quant_type": value}) for value in QUANTIZED)
    refuses = (
        Refusal(
            {"quantization": QUANTIZED, "method": "full"},
            "QLoRA trains adapters, and a weight of 4 bits cannot be trained itself",
            "Add a table [plugins.lora], or take out [plugins.qlora] to train the whole model.",
            Fix(action="switch_on", key="plugins.lora"),
        ),
    )

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        scale = 1 + 4 / _SCALES_PER_SCALE if self.config.double_quantization else 4
        # Float32 tables of the 16 levels and, by double quantization, of the 256 of the scales.
        levels = 16 + 256 if self.config.double_quantization else 16
        quantized = Quantized(
            bytes_per_weight=0.5 + scale / BLOCK,
            block=BLOCK,
            skipped=tuple(self.config.skip_modules),
            bytes_per_layer=4.0 * levels,
        )
        return {"quantized": quantized}

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Raises `MissingRequirementError` without bitsandbytes, before anything is loaded."""
        if find_spec("bitsandbytes") is None:
            raise MissingRequirementError(
                "plugin 'qlora' needs the package bitsandbytes, which is not installed.",
                hint="Run: pip install 'stoker[qlora]'",
            )

    @hookimpl
    def patch_model(self, run: Run, model: nn.Module) -> None:
        """Before adapters: they are put on layers that are 4-bit ones by then."""
        if run.is_training:
            from stoker_plugins.qlora.layers import quantize_layers

            quantize_layers(model, self.config, run.engine.regime.compute)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Say how much of the model is in 4 bits."""
        if state.run.is_main:
            from stoker_plugins.qlora.layers import describe

            state.run.events.write("note", message=describe(state.model, self.config))

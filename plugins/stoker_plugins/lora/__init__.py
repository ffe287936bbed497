"""LoRA: trains low-rank updates of chosen layers and leaves the base model as it is (Hu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal
from stoker.plan.facts import Adapter
from stoker.recipe.problems import Problem

if TYPE_CHECKING:
    from torch import nn

    from stoker.plan.situation import Situation
    from stoker.recipe.model import Recipe
    from stoker.run.context import Run
    from stoker.train.weights import InitialValue, WeightSource


class LoraConfig(PluginConfig):
    """Options of the adapter; the names are PEFT's where they differ from the paper's."""

    rank: int = Field(default=16, ge=1, description="Rank r of the update B @ A.")
    alpha: float = Field(
        default=32.0, gt=0, description="The update is scaled by alpha / rank (rsLoRA: / sqrt(rank))."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on the adapter's input.")
    targets: Literal["all-linear"] | list[str] = Field(
        default="all-linear",
        description="Layers to adapt: every linear layer but the head, or a list of name endings.",
    )
    rslora: bool = Field(
        default=False, description="Rank-stabilised scaling, alpha / sqrt(rank) (Kalajdzievski 2023)."
    )
    dora: bool = Field(
        default=False, description="Learn the magnitude of the weights apart (DoRA, Liu et al. 2024)."
    )
    modules_to_save: list[str] = Field(
        default=[], description="Modules to train whole and store with the adapter, such as `lm_head`."
    )
    start_from: Path | None = Field(
        default=None, description="Directory of an existing PEFT adapter whose values to begin with."
    )


class Lora(Plugin[LoraConfig]):
    """Train a LoRA adapter on a frozen base; checkpoints and exports hold the adapter only."""

    Config: ClassVar[type[PluginConfig]] = LoraConfig
    # Others train other parameters than a checkpoint holds, or count at the start only.
    forbidden_on_resume = ("enabled", "rank", "targets", "dora", "modules_to_save", "start_from")
    provides = ("adapter",)
    choices = (Choice("method", "lora"), Choice("method", "dora", {"dora": True}))
    refuses = (
        Refusal(
            {"method": "dora", "weights": "sharded"},
            "DoRA takes the norm of each adapted weight, of which each rank holds a part there",
            "Take out plugins.lora.dora, or use an engine that has whole weights inside a block.",
        ),
    )

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """An adapter to start from must exist and have this recipe's shape."""
        if self.config.start_from is None:
            return []
        from stoker_plugins.lora.start import start_problems

        return start_problems(self.config, self.config.start_from)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        targets = self.config.targets
        adapter = Adapter(
            rank=self.config.rank,
            targets=() if isinstance(targets, str) else tuple(targets),
            dropout=self.config.dropout,
            magnitudes=self.config.dora,
            trained_whole=tuple(self.config.modules_to_save),
        )
        return {"adapter": adapter}

    @hookimpl
    def adapt_model(self, run: Run, model: nn.Module) -> None:
        from stoker_plugins.lora.adapter import inject

        # Other programs know a hub id or a directory, but no name that a plugin provides.
        named = run.recipe.model.path
        inject(model, self.config, str(run.model_directory) if ":" in named else named)

    @hookimpl
    def collect_initial_values(self, run: Run, model: nn.Module) -> Mapping[str, InitialValue]:
        from stoker_plugins.lora.adapter import initial_values

        return initial_values(model, self.config)

    @hookimpl
    def export_model(self, run: Run, source: WeightSource, directory: Path, merge: bool) -> bool:
        """Write a directory for `PeftModel.from_pretrained`, or the merged model."""
        from stoker_plugins.lora.export import export_adapter, export_merged

        (export_merged if merge else export_adapter)(run, source, directory)
        return True

"""Chooses how attention is computed: FlashAttention (Dao 2023), torch's SDPA, FlexAttention or eager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal

if TYPE_CHECKING:
    from stoker.plan.situation import Situation
    from stoker.run.context import Run
    from stoker.train.state import State


class FlashAttentionConfig(PluginConfig):
    """Which implementation."""

    implementation: Literal["auto", "flash_attention_2", "sdpa", "flex", "eager"] = Field(
        default="auto",
        description="`flash_attention_2` is the package flash-attn, `sdpa` torch's own kernels, `flex` "
        "FlexAttention, `eager` plain matrix products. `auto` takes the package where it can run, else "
        "`sdpa`, and a note in the events says why. All others run or are refused.",
    )


class FlashAttention(Plugin[FlashAttentionConfig]):
    """Take an attention implementation through transformers' interface, or refuse with the reason.

    Every one of them keeps packed documents apart, on the device and without waiting for it.
    """

    Config: ClassVar[type[PluginConfig]] = FlashAttentionConfig
    provides = ("attention",)
    choices = (
        Choice("attention", "auto", {"implementation": "auto"}),
        Choice(
            "attention", "flash_attention_2", {"implementation": "flash_attention_2"}, needs_cuda=True
        ),
        Choice("attention", "sdpa", {"implementation": "sdpa"}),
        Choice("attention", "flex", {"implementation": "flex"}, needs_cuda=True),
        Choice("attention", "eager", {"implementation": "eager"}),
    )
    refuses = (
        Refusal(
            where={"attention": "flash_attention_2", "precision": "fp32"},
            reason="flash-attn computes in half precision only",
            hint="Set train.precision to 'bf16_mixed', or implementation to 'sdpa'.",
        ),
    )

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        """`auto` takes one of two kernels that keep the same."""
        wanted = self.config.implementation
        return {"attention": "sdpa" if wanted == "auto" else wanted}

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Raises `MissingRequirementError` for what this machine cannot run, before anything is read."""
        from stoker_plugins.flash_attention.selection import require_machine

        require_machine(self.config.implementation)

    @hookimpl
    def collect_model_kwargs(self, run: Run) -> Mapping[str, Any]:
        """Raises `MissingRequirementError` or `PluginError` where the choice cannot run."""
        if not run.is_training:
            return {}
        from stoker_plugins.flash_attention.selection import decide, facts_of, model_keywords

        self.decision = decide(self.config.implementation, facts_of(run))
        return model_keywords(run, self.decision.implementation)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Say which implementation runs, and why not those that `auto` would have preferred."""
        if state.run.is_main:
            state.run.events.write("note", message=self.decision.describe())

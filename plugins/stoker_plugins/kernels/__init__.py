"""Kernels in Triton from the package liger-kernel (Hsu et al. 2024), where there is a CUDA GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice

if TYPE_CHECKING:
    from torch import nn

    from stoker.run.context import Run
    from stoker.train.state import State
    from stoker_plugins.kernels.liger import Applied


class KernelsConfig(PluginConfig):
    """Which of a model's parts are computed by Liger's kernels."""

    rope: bool = Field(default=True, description="Rotary position embedding of queries and keys.")
    rms_norm: bool = Field(default=True, description="RMSNorm, forward and backward in one kernel each.")
    swiglu: bool = Field(
        default=True,
        description="The gated product within an MLP, SwiGLU or GeGLU, whose activated gate is then "
        "computed again in the backward instead of kept.",
    )
    required: bool = Field(
        default=False,
        description="Whether it is an error, and not a note, where one of them cannot be used.",
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if not (self.rope or self.rms_norm or self.swiglu):
            raise ValueError("no kernel is left: set one to true, or `enabled` to false")
        return self


class Kernels(Plugin[KernelsConfig]):
    """Liger's Triton kernels for rotary embedding, RMSNorm and SwiGLU; PyTorch's own elsewhere.

    They are used where there are a CUDA GPU, Triton, and kernels for the model's type; otherwise a note
    in the events says why not. With a GPU and without the package the run is refused. The loss is not
    Liger's: stoker's own never has all logits at once either. Plans count what PyTorch's own keep, which
    is more. Not run on a GPU yet.
    """

    Config: ClassVar[type[PluginConfig]] = KernelsConfig
    safe_on_resume = ("required",)
    provides = ("kernels",)
    choices = (
        # Without `required` the recipe trains anywhere, and what is tested there is PyTorch's own.
        Choice("kernels", "liger", {"required": True}, needs_cuda=True, needs_memory=True),
    )

    def __init__(self, config: KernelsConfig) -> None:
        super().__init__(config)
        self._applied: Applied | None = None

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Raises `MissingRequirementError` for a machine that cannot run what has to run."""
        from stoker_plugins.kernels import machine

        machine.require(machine.read(), always=self.config.required)

    @hookimpl
    def patch_model(self, run: Run, model: nn.Module) -> None:
        """Raises `PluginError` where all are required and Liger has not all for the model's type."""
        if run.is_training:
            from stoker_plugins.kernels.liger import apply

            self._applied = apply(self.config, model, run.engine.device.type)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Say which kernels run, and why not the others."""
        if state.run.is_main and self._applied is not None:
            state.run.events.write("note", message=self._applied.describe())

    @hookimpl
    def on_run_end(self) -> None:
        """Other models of this process compute as they would have."""
        self._undo()

    @hookimpl
    def on_exception(self) -> None:
        """The same."""
        self._undo()

    def _undo(self) -> None:
        applied, self._applied = self._applied, None
        if applied is not None:
            applied.undo()

"""torch.compile: the model's blocks, or all of them at once, as fused kernels (Ansel et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal

if TYPE_CHECKING:
    from torch import nn

    from stoker.plan.situation import Situation
    from stoker.run.context import Run
    from stoker.train.state import State


class CompileConfig(PluginConfig):
    """What is compiled and how; the names are those of `torch.compile`."""

    scope: Literal["block", "model"] = Field(
        default="block",
        description="`block` compiles one block and uses it for all of them; `model` compiles all but "
        "the head at once, which takes longer and may fuse more.",
    )
    backend: str = Field(default="inductor", description="Who compiles, by torch's name.")
    mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = Field(
        default="default", description="What inductor optimises for."
    )
    dynamic: bool = Field(
        default=True,
        description="Compile once for rows of all lengths; false compiles again for every new length.",
    )
    fullgraph: bool = Field(
        default=False, description="Fail where a part cannot be compiled, rather than run it as it is."
    )
    block_class: str | None = Field(
        default=None,
        description="Class of the model's blocks, where they are not the ones that transformers names.",
    )


class Compile(Plugin[CompileConfig]):
    """Compile modules in place, after checkpointing was arranged, so that parameter names stay.

    The first step of each kind (training, evaluation) takes a minute or more; a note says what was
    compiled.
    """

    Config: ClassVar[type[PluginConfig]] = CompileConfig
    provides = ("compile",)
    choices = (
        Choice("compile", "block", {"scope": "block"}),
        Choice("compile", "model", {"scope": "model"}),
    )
    refuses = (
        Refusal(
            where={"compile": ("block", "model"), "engine": "zero-3"},
            reason="its hooks gather weights inside what is compiled, so torch gives up and runs "
            "it as it was",
            hint="Use fsdp, or another stage.",
        ),
    )

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Raises `MissingRequirementError` without a compiler, before anything is loaded."""
        from stoker_plugins.compile.requirements import require_backend

        require_backend(self.config)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        return {"compiled": self.config.scope}

    @hookimpl
    def compile_model(self, run: Run, model: nn.Module) -> None:
        if run.is_training:
            from stoker_plugins.compile.compiling import compile_modules

            self.compiled = compile_modules(model, self.config)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Say what was compiled."""
        if state.run.is_main:
            message = f"compile: {self.compiled} with {self.config.backend}, at the first step"
            state.run.events.write("note", message=message)

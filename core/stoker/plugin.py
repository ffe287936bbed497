"""What a plugin is: a class with a typed `Config`, reached through an entry point.

A plugin package declares itself in its `pyproject.toml`::

    [project.entry-points."stoker.plugins"]
    loss_printer = "my_package:LossPrinter"

and the class implements the hooks it wants, from `stoker.hookspecs`, with the arguments it wants::

    from pydantic import Field
    from stoker import Plugin, PluginConfig, hookimpl

    class LossPrinter(Plugin):
        class Config(PluginConfig):
            every_steps: int = Field(default=1, ge=1, description="Print at every n-th log point.")

        @hookimpl
        def on_log(self, rows):
            print(rows[-1]["loss"])

A recipe switches it on with a table of its name: `[plugins.loss_printer]`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Literal, TypeVar

import pluggy
from pydantic import BaseModel, ConfigDict

from stoker.capabilities import Choice, Refusal

PROJECT_NAME = "stoker"

hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class PluginConfig(BaseModel):
    """Base of every plugin's `Config`: unknown keys are errors and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ConfigT = TypeVar("ConfigT", bound=PluginConfig)


class Plugin(Generic[ConfigT]):
    """Base class of plugins. One instance exists per run, on every rank.

    Class attributes declare how it combines with others; `check` reads them without an instance.
    Names in `requires`, `conflicts_with`, `after` and `before` are plugin names or names that
    another plugin `provides`.
    """

    Config: ClassVar[type[PluginConfig]] = PluginConfig

    provides: ClassVar[tuple[str, ...]] = ()
    """Capabilities, for example `("engine",)` or `("adapter",)`."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Each must be provided by, or be, an enabled plugin."""
    conflicts_with: ClassVar[tuple[str, ...]] = ()
    """None may be provided by, or be, another enabled plugin."""
    after: ClassVar[tuple[str, ...]] = ()
    """Within one hook, run after these where they are enabled."""
    before: ClassVar[tuple[str, ...]] = ()
    """Within one hook, run before these where they are enabled."""
    choices: ClassVar[tuple[Choice, ...]] = ()
    """Values it gives to axes of the capability matrix, such as an engine: `stoker.capabilities`."""
    refuses: ClassVar[tuple[Refusal, ...]] = ()
    """Combinations with other values that do not work, each with its reason; `check` refuses them."""
    safe_on_resume: ClassVar[tuple[str, ...]] = ()
    """Options that may change when a run goes on because they do not change what is trained.

    `enabled` among them is about switching the plugin itself on or off.
    """
    forbidden_on_resume: ClassVar[tuple[str, ...]] = ()
    """Options that may not change then, whatever the user says; all others need to be allowed."""
    failure_policy: ClassVar[Literal["fatal", "degrade"]] = "fatal"
    """`degrade`: a raise is reported once and the plugin is left out from then on.

    In hooks that notify or vote, and in `save_state` and `load_state`. What builds the run
    (`collect_*`, `make_*`, the stages) is always fatal: ranks may not differ. So is a
    `MissingRequirementError` in `on_run_start`: what cannot work here is said before it costs anything.
    """

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def save_state(self) -> dict[str, Any]:
        """JSON-able state for a checkpoint. Called on rank 0 only."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `save_state` returned. Called on every rank, before `on_train_start`."""

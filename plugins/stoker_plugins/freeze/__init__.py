"""Freezes parameters by name pattern, or trains only those that match."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import PluginError

if TYPE_CHECKING:
    from torch import nn

    from stoker.plan.situation import Situation
    from stoker.run.context import Run


class FreezeConfig(PluginConfig):
    """Patterns are shell globs over full parameter names, such as `model.embed_tokens.*`."""

    patterns: list[str] = Field(min_length=1, description="Parameters to freeze; `*` matches dots too.")
    except_patterns: list[str] = Field(
        default=[], description="Parameters to keep trainable all the same."
    )


class Freeze(Plugin[FreezeConfig]):
    """Freeze parameters whose names match a pattern. Every pattern must match something."""

    Config: ClassVar[type[PluginConfig]] = FreezeConfig
    after = ("adapter",)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        return {
            "frozen": tuple(self.config.patterns),
            "trained": tuple(self.config.except_patterns),
        }

    @hookimpl
    def adapt_model(self, run: Run, model: nn.Module) -> None:
        names = [name for name, _ in model.named_parameters()]
        for pattern in (*self.config.patterns, *self.config.except_patterns):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise PluginError(
                    f"plugins.freeze: no parameter matches {pattern!r}.",
                    hint=f"Parameters are called like {names[0]!r} and {names[-1]!r}.",
                )
        for name, parameter in model.named_parameters():
            if self._freezes(name):
                parameter.requires_grad_(False)

    def _freezes(self, name: str) -> bool:
        matches = any(fnmatchcase(name, pattern) for pattern in self.config.patterns)
        return matches and not any(fnmatchcase(name, p) for p in self.config.except_patterns)

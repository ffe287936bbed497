"""A plugin that implements every hook and only writes down its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stoker.dispatch import HOOK_NAMES
from stoker.plugin import Plugin, PluginConfig, hookimpl


class Recorder(Plugin[PluginConfig]):
    """`timeline` holds the names of the hooks in the order in which they were called.

    `save_state` and `load_state` are recorded too.
    """

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())
        self.timeline: list[str] = []

    def save_state(self) -> dict[str, Any]:
        self.timeline.append("save_state")
        return {"calls": len(self.timeline)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.timeline.append("load_state")


def _recording(name: str) -> Callable[[Recorder], None]:
    def hook(self: Recorder) -> None:
        self.timeline.append(name)

    hook.__name__ = name
    implementation: Callable[[Recorder], None] = hookimpl(hook)
    return implementation


for _name in HOOK_NAMES:
    setattr(Recorder, _name, _recording(_name))

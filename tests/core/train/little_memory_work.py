"""A plugin that leaves its process little memory to train in."""

from __future__ import annotations

import resource

from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.train.peaks import in_use

ROOM = 1500 << 20
"""Bytes that training may map beyond what is mapped when it begins."""


class LittleMemory(Plugin[PluginConfig]):
    """Limits the process once all is loaded: what libraries map differs between machines."""

    @hookimpl
    def on_train_start(self) -> None:
        most = int(in_use("VmSize")) + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

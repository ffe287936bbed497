"""stoker trains language models on one GPU or many; every technique is a plugin.

Plugin authors need three names, all importable without torch::

    from stoker import Plugin, PluginConfig, hookimpl
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stoker.version import __version__

if TYPE_CHECKING:
    from stoker.plugin import Plugin, PluginConfig, hookimpl

__all__ = ["Plugin", "PluginConfig", "__version__", "hookimpl"]


def __getattr__(name: str) -> Any:
    """Import what plugins are made of when it is asked for: `stoker --help` does without pydantic."""
    if name in __all__:
        from stoker import plugin

        return getattr(plugin, name)
    raise AttributeError(f"module 'stoker' has no attribute {name!r}")

"""stoker trains language models on one GPU or many; every technique is a plugin.

Plugin authors need three names, all importable without torch::

    from stoker import Plugin, PluginConfig, hookimpl
"""

from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.version import __version__

__all__ = ["Plugin", "PluginConfig", "__version__", "hookimpl"]

"""Which plugins load? Answer: names of those that do, and by name why another one does not."""

from __future__ import annotations

from typing import Any

from stoker.doctor.probes.answer import answer
from stoker.errors import PluginError
from stoker.recipe import plugin_schemas

_TIMEOUT_SECONDS = 20


def describe_plugins() -> dict[str, Any]:
    """Import every plugin, as `stoker schema` does."""
    # Less than this probe has, so that one that hangs is named and the others are described.
    plugin_schemas.TIMEOUT_SECONDS = _TIMEOUT_SECONDS
    try:
        described = plugin_schemas.read_plugin_schemas()
    except PluginError as error:
        return {"problem": str(error), "loaded": [], "failures": {}}
    return {"problem": "", "loaded": sorted(described.schemas), "failures": described.failures}


if __name__ == "__main__":
    answer(describe_plugins)

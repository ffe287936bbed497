"""Marks modules for compilation, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from stoker.train.blocks import find_blocks

if TYPE_CHECKING:
    from stoker_plugins.compile import CompileConfig


def compile_modules(model: nn.Module, config: CompileConfig) -> str:
    """Compile blocks or the model at their first call; returns what, for a note.

    `nn.Module.compile` changes how a module is called, not the module: parameters keep their names, and
    what an engine hooks onto it later is called too. Raises `PluginError` for a class that is not there.
    """
    options: dict[str, Any] = {
        "backend": config.backend,
        "dynamic": config.dynamic,
        "fullgraph": config.fullgraph,
    }
    # Modes are inductor's.
    if config.mode != "default":
        options["mode"] = config.mode
    if config.scope == "model":
        body = _body(model)
        body.compile(**options)
        return f"the whole {type(body).__name__}"
    blocks = find_blocks(model, config.block_class, key="plugins.compile.block_class")
    for _, block in blocks:
        block.compile(**options)
    return f"{len(blocks)} {type(blocks[0][1]).__name__}"


def _body(model: nn.Module) -> nn.Module:
    """All but the head, which is a single matrix product over however many tokens are supervised."""
    find: Any = getattr(model, "get_decoder", lambda: None)
    found = find()
    return found if isinstance(found, nn.Module) else model

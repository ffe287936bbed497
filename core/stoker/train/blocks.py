"""The repeated blocks of a model: the units of sharding, activation checkpointing and compilation."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import nn

from stoker.errors import PluginError


def find_blocks(
    model: nn.Module, class_name: str | None = None, *, key: str = "block_class"
) -> list[tuple[str, nn.Module]]:
    """The model's transformer blocks by name, in the order of the forward pass.

    Modules of `class_name`, else of the classes that transformers says must not be split, else the items
    of the longest list of equal modules. Raises `PluginError`, which names the option `key`, where there
    are none.
    """
    if class_name is not None:
        blocks = _of_classes(model, {class_name})
        if not blocks:
            raise PluginError(
                f"{key}: the model has no module of class {class_name!r}.",
                hint=f"Its repeated modules are {_repeated(model)}.",
            )
        return blocks
    declared: Any = getattr(model, "_no_split_modules", None)
    blocks = _of_classes(model, set(declared or ())) or _longest_list(model)
    if not blocks:
        raise PluginError(
            f"{type(model).__name__} has no list of equal modules that could be its blocks.",
            hint=f"Name the class of its blocks with {key}.",
        )
    return blocks


def _of_classes(model: nn.Module, names: set[str]) -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        inside = found and name.startswith(f"{found[-1][0]}.")
        if name and type(module).__name__ in names and not inside:
            found.append((name, module))
    return found


def _longest_list(model: nn.Module) -> list[tuple[str, nn.Module]]:
    longest: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len({type(item) for item in module}) == 1:
            items = [(f"{name}.{number}".lstrip("."), item) for number, item in enumerate(module)]
            longest = max(longest, items, key=len)
    return longest


def _repeated(model: nn.Module) -> str:
    counts = Counter(type(module).__name__ for module in model.modules())
    names = [name for name, count in counts.most_common() if count > 1 and name != "ModuleList"]
    return ", ".join(names[:8]) or "none"

"""Checks of the options, without torch or DeepSpeed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stoker.recipe.problems import Fix, Problem, did_you_mean, nearest
from stoker_plugins.zero.keys import KNOWN_KEYS, OWNED_KEYS, OWNED_ZERO_KEYS, ZERO_KEYS

if TYPE_CHECKING:
    from stoker_plugins.zero import ZeroConfig

KEY = "plugins.zero"


def option_problems(config: ZeroConfig) -> list[Problem]:
    """Everything that is wrong with the plugin's table beyond the types of its entries."""
    return [*_offload_problems(config), *_path_problems(config), *_config_problems(config)]


def _offload_problems(config: ZeroConfig) -> Iterator[Problem]:
    if config.offload_parameters != "none" and config.stage != 3:
        yield Problem(
            key=f"{KEY}.offload_parameters",
            message=f"{config.offload_parameters!r} needs stage 3, not {config.stage}.",
            hint='Set stage = 3, or offload_parameters = "none".',
            fix=Fix(action="set", key=f"{KEY}.stage", value=3),
        )
    if config.offload_optimizer == "nvme" and config.stage != 3:
        yield Problem(
            key=f"{KEY}.offload_optimizer",
            message=f'"nvme" needs stage 3, not {config.stage}.',
            hint='Set stage = 3, or offload_optimizer = "cpu".',
            fix=Fix(action="set", key=f"{KEY}.stage", value=3),
        )


def _path_problems(config: ZeroConfig) -> Iterator[Problem]:
    key, path = f"{KEY}.nvme_path", config.nvme_path
    wanted = "nvme" in (config.offload_optimizer, config.offload_parameters)
    if wanted and path is None:
        yield Problem(
            key=key,
            message='offload to "nvme" needs a directory to write to.',
            hint="Set nvme_path to one on a fast local disk.",
        )
    elif path is not None and not wanted:
        yield Problem(
            key=key,
            message='nothing is offloaded to "nvme".',
            hint="Take nvme_path out of the recipe.",
            fix=Fix(action="unset", key=key),
        )
    elif path is not None and not path.is_dir():
        found = "is no directory" if path.exists() else "does not exist"
        yield Problem(key=key, message=f"{path} {found}.", hint=f"Create it: mkdir -p {path}")
    elif path is not None and not os.access(path, os.W_OK | os.X_OK):
        yield Problem(key=key, message=f"{path} cannot be written to.", hint="Change its permissions.")


def _config_problems(config: ZeroConfig) -> Iterator[Problem]:
    yield from _key_problems(f"{KEY}.config", config.config, OWNED_KEYS, KNOWN_KEYS)
    zero = config.config.get("zero_optimization", {})
    key = f"{KEY}.config.zero_optimization"
    if isinstance(zero, dict):
        yield from _key_problems(key, zero, OWNED_ZERO_KEYS, ZERO_KEYS)
    else:
        yield Problem(key=key, message=f"is {zero!r}, but must be a table.")


def _key_problems(
    prefix: str, table: dict[str, object], owned: dict[str, str], known: frozenset[str]
) -> Iterator[Problem]:
    """Entries that something else decides, and entries that DeepSpeed does not know."""
    for name in table:
        if name in owned:
            yield Problem(
                key=f"{prefix}.{name}",
                message=f"is said twice: DeepSpeed's {name!r} follows from {owned[name]}.",
                hint=f"Take it out, and set {owned[name]}.",
                fix=Fix(action="unset", key=f"{prefix}.{name}"),
            )
        elif name not in known:
            yield Problem(
                key=f"{prefix}.{name}",
                message="is no entry of DeepSpeed's configuration.",
                hint=did_you_mean(name, known - owned.keys()) or "Take it out, or correct its name.",
                fix=_name_fix(prefix, name, table, known - owned.keys()),
            )


def _name_fix(prefix: str, name: str, table: dict[str, object], known: frozenset[str]) -> Fix:
    near = nearest(name, known)
    if near is None or near in table:
        return Fix(action="unset", key=f"{prefix}.{name}")
    return Fix(action="rename", key=f"{prefix}.{name}", to=f"{prefix}.{near}")

"""What compiling needs of the machine."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from stoker.errors import MissingRequirementError, PluginError

if TYPE_CHECKING:
    from stoker_plugins.compile import CompileConfig


def require_backend(config: CompileConfig) -> None:
    """Raise `PluginError` for an unknown backend, `MissingRequirementError` for a missing compiler."""
    known = torch._dynamo.list_backends(None)
    if config.backend not in known:
        raise PluginError(
            f"plugins.compile.backend: torch has no backend called {config.backend!r}.",
            hint=f"It has {', '.join(known)}.",
        )
    if config.backend != "inductor":
        if config.mode != "default":
            raise PluginError(
                f"plugins.compile.mode: found {config.mode!r}, which only backend 'inductor' knows.",
                hint="Leave mode out.",
            )
        return
    if torch.cuda.is_available():
        if find_spec("triton") is None:
            raise MissingRequirementError(
                "plugin 'compile' needs triton to compile for this GPU, and it is not installed.",
                hint="Run: pip install triton",
            )
    elif cpp_compiler() is None:
        raise MissingRequirementError(
            "plugin 'compile' needs a C++ compiler on a CPU, and there is none on the PATH.",
            hint="Install g++, or point the environment variable CXX to a compiler.",
        )


def cpp_compiler() -> str | None:
    """The path of the C++ compiler that inductor calls, by its own rule; None where there is none."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX", usual))

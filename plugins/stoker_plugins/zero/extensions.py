"""DeepSpeed's C++ parts: compiled at their first use, by one rank while the others wait.

`python -m stoker_plugins.zero.extensions` compiles all of them ahead, for an image or before tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from stoker.errors import MissingRequirementError
from stoker_plugins.zero.requirements import require_compiler, require_libaio

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker_plugins.zero import ZeroConfig

OWN_FOLDER = "stoker"
"""Below where torch builds extensions: nobody else builds here, so whoever holds our lock is alone."""


def build_extensions(run: Run, config: ZeroConfig) -> None:
    """Compile what the options need, before ranks wait for each other. Imports torch and DeepSpeed."""

    def tell(message: str) -> None:
        if run.is_main:
            run.events.write("note", message=message)

    _build_all(config.offload_optimizer != "none", _uses_nvme(config), tell)


def _uses_nvme(config: ZeroConfig) -> bool:
    return "nvme" in (config.offload_optimizer, config.offload_parameters)


def _build_all(host_optimizer: bool, nvme: bool, tell: Callable[[str], None]) -> None:
    choose_accelerator()
    from deepspeed.accelerator import get_accelerator

    accelerator = get_accelerator()
    for name in _builders(accelerator.device_name(), host_optimizer, nvme):
        _build(accelerator.create_op_builder(name), tell)


def _builders(device: str, host_optimizer: bool, nvme: bool) -> Iterator[str]:
    """Names of DeepSpeed's builders."""
    if device == "cpu":
        # Collective operations of ranks on CPUs: DeepSpeed loads it whatever the options are.
        yield "ShareMemCommBuilder"
    if host_optimizer:
        yield "CPUAdamBuilder"
    if nvme:
        yield "AsyncIOBuilder"


def choose_accelerator() -> None:
    """Tell DeepSpeed the device, which it would else guess, with a warning on machines without one."""
    import torch

    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")


def _build(builder: Any, tell: Callable[[str], None]) -> None:
    """Raises `MissingRequirementError` where the compiler is missing or fails."""
    folder = _build_folder(builder.name)
    with FileLock(folder / "stoker.lock"), _programs_of_this_environment():
        if not (folder / f"{builder.name}.so").exists() and not _is_installed(builder):
            require_compiler(builder.name)
            tell(f"compiling DeepSpeed's {builder.name}, once on this machine; takes minutes")
        # Torch waits for ever for a lock whose owner was killed; under our own lock nobody owns one.
        (folder / "lock").unlink(missing_ok=True)
        _leave_out_debug_symbols(builder)
        try:
            builder.load(verbose=False)
        except Exception as error:
            raise MissingRequirementError(
                f"plugins.zero: DeepSpeed's {builder.name} cannot be compiled or loaded: {error}",
                hint=f"Look at the rank's log; `stoker doctor` examines the compilers. To begin anew, "
                f"remove {folder}.",
            ) from error


def _leave_out_debug_symbols(builder: Any) -> None:
    """They are nine tenths of the files, and cost a quarter of the time."""
    arguments: Callable[[], list[str]] = builder.cxx_args
    builder.cxx_args = lambda: [argument for argument in arguments() if argument != "-g"]


def _build_folder(name: str) -> Path:
    """Where torch builds it, made if need be: below TORCH_EXTENSIONS_DIR, else in the user's cache.

    DeepSpeed finds it there, too: the variable is set for this process.
    """
    from torch.utils.cpp_extension import _get_build_directory

    root = Path(_get_build_directory(name, verbose=False)).parent
    if root.name != OWN_FOLDER:
        root /= OWN_FOLDER
        os.environ["TORCH_EXTENSIONS_DIR"] = str(root)
    return Path(_get_build_directory(name, verbose=False))


def _is_installed(builder: Any) -> bool:
    """Whether DeepSpeed was installed with the extension in it."""
    from deepspeed.git_version_info import installed_ops

    return bool(installed_ops.get(builder.name, False))


@contextmanager
def _programs_of_this_environment() -> Iterator[None]:
    """Find ninja beside the interpreter: ranks run where no environment was activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def main() -> int:
    """Compile everything that this machine can; says what it lacks and ends with 5 then."""
    # DeepSpeed imports MLflow, if it is there; that would leave a file in the home folder.
    os.environ.setdefault("DO_NOT_TRACK", "true")
    try:
        _build_all(host_optimizer=True, nvme=False, tell=print)
        require_libaio()
        _build_all(host_optimizer=True, nvme=True, tell=print)
    except MissingRequirementError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Whether this machine can run Liger's kernels."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from stoker.errors import MissingRequirementError

_HINT = "Run: pip install 'stoker[liger]'"


@dataclass(frozen=True)
class Machine:
    """What the kernels need of it."""

    device: str
    """torch's name of the device type that is trained on, such as `cuda`."""
    has_triton: bool
    package_problem: str
    """Why the package liger-kernel cannot be used; empty where it can."""

    @property
    def problem(self) -> str:
        """Why the kernels cannot run; empty where they can."""
        if self.device != "cuda":
            return f"they run on CUDA devices and this is {self.device!r}"
        if not self.has_triton:
            return "Triton, which compiles them, is not installed"
        return self.package_problem


def read(device: str = "") -> Machine:
    """This one. `device`: the type that is trained on; the best there is where it is not known yet."""
    if not device:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    has_triton = find_spec("triton") is not None
    # Its import is Triton's too, which takes a second and is in vain without a GPU.
    problem = _package_problem() if device == "cuda" and has_triton else ""
    return Machine(device, has_triton, problem)


def require(machine: Machine, *, always: bool) -> None:
    """Raise `MissingRequirementError` for a GPU without the package; with `always` for any problem."""
    if machine.device == "cuda" and machine.package_problem:
        raise MissingRequirementError(
            f"plugin 'kernels' cannot run: {machine.package_problem}.", hint=_HINT
        )
    if always and machine.problem:
        raise MissingRequirementError(
            f"plugins.kernels.required: the kernels cannot run: {machine.problem}.",
            hint="Set it to false to train with PyTorch's own kernels here.",
        )


def _package_problem() -> str:
    try:
        import liger_kernel.transformers.monkey_patch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == "liger_kernel":
            return "the package liger-kernel is not installed"
        return f"liger-kernel does not import: {error}"
    except (ImportError, OSError) as error:
        # Made for another Triton or transformers.
        return f"liger-kernel does not import: {error}"
    return ""

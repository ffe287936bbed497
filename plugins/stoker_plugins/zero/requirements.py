"""What this machine needs for DeepSpeed; each thing that is missing is named with how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from stoker.doctor.compilers import c_compiler, examine_compilers
from stoker.doctor.libaio import examine_libaio
from stoker.errors import MissingRequirementError


def require_deepspeed() -> None:
    """Raise `MissingRequirementError` where DeepSpeed is not installed. Imports nothing."""
    if find_spec("deepspeed") is None:
        raise MissingRequirementError(
            "plugin 'zero' needs the package deepspeed, which is not installed.",
            hint="Run: pip install 'stoker[deepspeed]'",
        )


def require_libaio() -> None:
    """Raise `MissingRequirementError` where DeepSpeed could not build its NVMe part."""
    for finding in examine_libaio(c_compiler()):
        if finding.status != "ok":
            raise MissingRequirementError(
                f"plugins.zero: offload to NVMe needs libaio; its {finding.name}: {finding.found}.",
                hint=finding.hint,
            )


def require_compiler(extension: str) -> None:
    """Raise `MissingRequirementError` where torch could not compile the extension."""
    for finding in examine_compilers(None):
        if finding.name == "c++" and finding.status != "ok":
            raise MissingRequirementError(
                f"plugins.zero: DeepSpeed's {extension} has to be compiled, but c++: {finding.found}.",
                hint=finding.hint,
            )

"""The examination as a whole: ask everything, then say what was found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution
from typing import Any

from stoker.doctor.child import TIMEOUT_SECONDS, ask_probe, in_parallel
from stoker.doctor.compilers import c_compiler, examine_compilers
from stoker.doctor.devices import devices_of, examine_devices
from stoker.doctor.finding import Finding, has_error
from stoker.doctor.gpus import examine_gpus
from stoker.doctor.libaio import examine_libaio
from stoker.doctor.packages import examine_extras
from stoker.doctor.plugins import examine_plugins
from stoker.doctor.system import examine_system


@dataclass(frozen=True)
class Examination:
    """What was found, and the devices that torch can compute on."""

    findings: list[Finding]
    devices: list[dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken; what is only missing does not count."""
        return not has_error(self.findings)

    def as_dict(self) -> dict[str, Any]:
        """As `stoker doctor --json` shows it."""
        findings = [finding.as_dict() for finding in self.findings]
        return {"ok": self.ok, "findings": findings, "devices": self.devices}


def examine(timeout_seconds: float = TIMEOUT_SECONDS) -> Examination:
    """Examine this machine and the Python environment that stoker is installed in."""
    ask = partial(ask_probe, timeout_seconds=timeout_seconds)
    # Alone and first: the next one holds the GPUs itself for a moment.
    gpus = ask("nvml")
    torch, plugins = in_parallel([partial(ask, "torch_build"), partial(ask, "plugins")])
    findings = [
        *examine_system(),
        *examine_devices(torch, gpus),
        *examine_gpus(gpus),
        *examine_extras(distribution("stoker"), timeout_seconds),
        *examine_plugins(plugins),
        *examine_compilers((torch.value or {}).get("cuda")),
        *examine_libaio(c_compiler()),
    ]
    return Examination(findings, devices_of(torch))

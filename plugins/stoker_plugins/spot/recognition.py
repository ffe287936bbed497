"""Where this run is: `provider = "auto"`, from the environment and what the firmware says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stoker.errors import MissingRequirementError

_DMI: Final = Path("/sys/class/dmi/id")
DMI_FILES: Final = ("sys_vendor", "product_name", "bios_version", "chassis_asset_tag")
"""Files of the firmware that everyone may read."""

# In this order: whoever started this run knows more about its end than the machine beneath.
_VARIABLES: Final = {
    "RUNPOD_POD_ID": "runpod",
    "SLURM_JOB_ID": "slurm",
    "KUBERNETES_SERVICE_HOST": "kubernetes",
}
_AZURE_TAG: Final = "7783-7084-3265-9085-8269-3286-77"
"""The same on all machines of Azure; other machines under Hyper-V have others."""


def recognise_here() -> tuple[str, str]:
    """Provider and reason for this process. Raises `MissingRequirementError` where there is none."""
    found = recognise(os.environ, read_dmi(_DMI))
    if found is None:
        raise MissingRequirementError(
            "plugins.spot.provider: nothing here tells who may take this machine away.",
            hint="Set it to aws, gcp, azure, slurm, kubernetes or runpod, or to file with notice_file.",
        )
    return found


def recognise(environment: Mapping[str, str], dmi: Mapping[str, str]) -> tuple[str, str] | None:
    """Provider and reason in words; None where nothing is recognised.

    `dmi` has the content of `DMI_FILES` by name, without those that are missing.
    """
    for variable, provider in _VARIABLES.items():
        if environment.get(variable):
            return provider, f"{variable} is set"
    vendor, product = dmi.get("sys_vendor", ""), dmi.get("product_name", "")
    if vendor == "Amazon EC2" or "amazon" in dmi.get("bios_version", "").lower():
        return "aws", "the firmware is Amazon EC2's"
    if vendor == "Google" and product in ("Google", "Google Compute Engine"):
        return "gcp", "the firmware is Google Compute Engine's"
    if vendor == "Microsoft Corporation" and dmi.get("chassis_asset_tag", _AZURE_TAG) == _AZURE_TAG:
        return "azure", "the firmware is Azure's"
    return None


def read_dmi(folder: Path) -> dict[str, str]:
    """What `recognise` wants to know, as far as it can be read."""
    found = {}
    for name in DMI_FILES:
        try:
            found[name] = (folder / name).read_text(errors="replace").strip()
        except OSError:
            continue
    return found

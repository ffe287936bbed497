"""The last line: what this machine can run, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stoker.doctor.finding import Finding, has_error

_NEEDED_TO_TRAIN = ("torch", "extra train")


def verdict(findings: Sequence[Finding], devices: Sequence[Mapping[str, Any]]) -> str:
    """One sentence; a second one where something is broken that does not keep it from training."""
    needed = [finding for finding in findings if finding.group in _NEEDED_TO_TRAIN]
    packages = [finding for finding in needed if finding.group != "torch"]
    if has_error(packages) or _torch_status(needed) == "error":
        return "This machine can check recipes; what training needs is broken (marked x)."
    if any(finding.status != "ok" for finding in packages) or _torch_status(needed) != "ok":
        return "This machine can check recipes; to train, pip install 'stoker[train]'."
    sentence = f"This machine can check recipes and train on {_where(findings, devices)}."
    broken = sum(finding.status == "error" for finding in findings)
    return f"{sentence} Broken: {broken}." if broken else sentence


def _torch_status(findings: Iterable[Finding]) -> str:
    torch = (each.status for each in findings if (each.group, each.name) == ("torch", "torch"))
    return next(torch, "missing")


def _where(findings: Iterable[Finding], devices: Sequence[Mapping[str, Any]]) -> str:
    seen = [each for each in devices if each["kind"] != "cpu"]
    usable = [each for each in seen if not each["failure"]]
    if usable:
        bf16 = "with" if all(each["bf16"] for each in usable) else "without"
        return f"{len(usable)} {'GPU' if len(usable) == 1 else 'GPUs'}, {bf16} bf16"
    told = [each for each in findings if (each.group, each.name) == ("torch", "gpu")]
    if seen or any(each.status != "missing" for each in told):
        return "CPU; no GPU can be used"
    return "CPU; no GPU was found"

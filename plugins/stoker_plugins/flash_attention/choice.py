"""Which attention implementation runs: a pure function of facts about machine, model and recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Implementation = Literal["flash_attention_2", "sdpa", "flex", "eager"]

IN_ORDER: tuple[Implementation, ...] = ("flash_attention_2", "sdpa", "eager")
"""What `auto` tries. Not flex: where it runs, one of the first two does too and is no slower."""

LARGEST_HEAD = 256
"""Channels of a head that FlashAttention-2 takes."""


@dataclass(frozen=True)
class Facts:
    """What the choice depends on."""

    device: str
    """torch's name of the device type, such as `cuda`."""
    capability: tuple[int, int] | None
    """Compute capability of a CUDA device; None elsewhere and for AMD's devices."""
    dtype: str
    """In which attention is computed, such as `bfloat16`."""
    package_problem: str
    """Why the package flash-attn cannot be used; empty where it can."""
    head_size: int
    supported: frozenset[str]
    """Implementations that the model's class takes."""
    whole_past: bool = True
    """Whether every layer attends to its whole past; some see a window only."""
    packed: bool = False
    """Whether documents share rows."""
    drops: bool = False
    """Whether the model's attention has dropout."""


@dataclass(frozen=True)
class Objection:
    """Why an implementation cannot run."""

    reason: str
    environment: bool = False
    """Another machine could run it; otherwise the recipe or the model is why."""


@dataclass(frozen=True)
class Decision:
    """What runs, and why nothing that would come before it does."""

    implementation: Implementation
    passed_over: tuple[tuple[Implementation, str], ...] = ()

    def describe(self) -> str:
        """One sentence for a `note` event."""
        reasons = "".join(f"; not {name}: {reason}" for name, reason in self.passed_over)
        return f"attention: {self.implementation}{reasons}"


def objection(implementation: Implementation, facts: Facts) -> Objection | None:
    """Why `implementation` cannot run; None where it can."""
    machine = machine_objection(implementation, facts.device, facts.capability, facts.package_problem)
    return machine or _model_objection(implementation, facts)


def machine_objection(
    implementation: Implementation,
    device: str,
    capability: tuple[int, int] | None,
    package_problem: str,
) -> Objection | None:
    """What the machine alone has against an implementation, before any model is known."""
    if implementation == "flex" and device != "cuda":
        return Objection(f"torch has no backward of it on {device!r} devices", environment=True)
    if implementation != "flash_attention_2":
        return None
    if device != "cuda":
        return Objection(f"it runs on CUDA devices and this is {device!r}", environment=True)
    if package_problem:
        return Objection(package_problem, environment=True)
    if capability is not None and capability < (8, 0):
        found = ".".join(map(str, capability))
        return Objection(f"it needs compute capability 8.0 and this GPU has {found}", environment=True)
    return None


def _model_objection(implementation: Implementation, facts: Facts) -> Objection | None:
    if implementation not in facts.supported:
        return Objection("the model's class does not take it")
    if implementation == "flash_attention_2":
        return _flash_objection(facts)
    if implementation == "flex" and facts.drops:
        return Objection("it has no dropout, and the model's config asks for it in attention")
    if facts.packed and not facts.whole_past:
        return Objection("it cannot keep packed documents apart in layers that see a window only")
    return None


def _flash_objection(facts: Facts) -> Objection | None:
    if facts.dtype not in ("float16", "bfloat16"):
        return Objection(f"it computes in half precision and this run in {facts.dtype}")
    if facts.head_size > LARGEST_HEAD or facts.head_size % 8:
        return Objection(
            f"it takes heads of up to {LARGEST_HEAD} channels, a multiple of 8, and the model's have "
            f"{facts.head_size}"
        )
    return None


def choose(facts: Facts) -> Decision | Objection:
    """The first implementation that can run, or why none can."""
    passed_over: list[tuple[Implementation, str]] = []
    for implementation in IN_ORDER:
        found = objection(implementation, facts)
        if found is None:
            return Decision(implementation, tuple(passed_over))
        passed_over.append((implementation, found.reason))
    return Objection("; ".join(f"{name}: {reason}" for name, reason in passed_over))

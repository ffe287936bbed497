"""The choice of an implementation as a table of cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker_plugins.flash_attention.choice import Decision, Facts, Objection, choose, objection

EVERYTHING = frozenset({"flash_attention_2", "sdpa", "flex", "eager"})
A100 = Facts(
    device="cuda",
    capability=(8, 0),
    dtype="bfloat16",
    package_problem="",
    head_size=128,
    supported=EVERYTHING,
)
NO_PACKAGE = "the package flash-attn is not installed"

AUTO: list[tuple[dict[str, Any], str, str]] = [
    # what differs from an A100 with everything, what runs, why not flash_attention_2
    ({}, "flash_attention_2", ""),
    ({"capability": (9, 0)}, "flash_attention_2", ""),
    ({"capability": None}, "flash_attention_2", ""),
    ({"dtype": "float16"}, "flash_attention_2", ""),
    ({"head_size": 256}, "flash_attention_2", ""),
    ({"packed": True}, "flash_attention_2", ""),
    ({"packed": True, "whole_past": False}, "flash_attention_2", ""),
    ({"drops": True}, "flash_attention_2", ""),
    ({"package_problem": NO_PACKAGE}, "sdpa", NO_PACKAGE),
    ({"dtype": "float32"}, "sdpa", "half precision and this run in float32"),
    ({"capability": (7, 5)}, "sdpa", "compute capability 8.0 and this GPU has 7.5"),
    ({"head_size": 512}, "sdpa", "the model's have 512"),
    ({"head_size": 36}, "sdpa", "a multiple of 8, and the model's have 36"),
    ({"device": "cpu", "capability": None}, "sdpa", "runs on CUDA devices and this is 'cpu'"),
    ({"device": "mps", "capability": None}, "sdpa", "runs on CUDA devices and this is 'mps'"),
    ({"supported": frozenset({"sdpa", "eager"})}, "sdpa", "the model's class does not take it"),
    ({"supported": frozenset({"eager"})}, "eager", "the model's class does not take it"),
]

OBJECTIONS: list[tuple[str, dict[str, Any], str, bool]] = [
    # implementation, what differs, the reason, whether the machine is why
    ("flash_attention_2", {"device": "cpu"}, "runs on CUDA devices", True),
    ("flash_attention_2", {"package_problem": NO_PACKAGE}, "not installed", True),
    ("flash_attention_2", {"capability": (7, 0)}, "this GPU has 7.0", True),
    ("flash_attention_2", {"dtype": "float32"}, "half precision", False),
    ("flash_attention_2", {"head_size": 20}, "multiple of 8", False),
    ("flex", {"device": "cpu"}, "no backward of it on 'cpu'", True),
    ("flex", {"drops": True}, "it has no dropout", False),
    ("flex", {"supported": frozenset({"eager"})}, "does not take it", False),
    ("sdpa", {"supported": frozenset({"eager"})}, "does not take it", False),
    ("sdpa", {"packed": True, "whole_past": False}, "layers that see a window only", False),
    ("eager", {"packed": True, "whole_past": False}, "layers that see a window only", False),
]


@pytest.mark.parametrize(("differs", "expected", "why"), AUTO, ids=range(len(AUTO)))
def test_auto_takes_the_first_that_can_run(differs: dict[str, Any], expected: str, why: str) -> None:
    decision = choose(replace(A100, **differs))
    assert isinstance(decision, Decision)
    assert decision.implementation == expected
    reasons = dict(decision.passed_over)
    assert why in reasons.get("flash_attention_2", "")
    assert bool(reasons) == (expected != "flash_attention_2")
    assert all(reason in decision.describe() for reason in reasons.values())


@pytest.mark.parametrize(("implementation", "differs", "why", "environment"), OBJECTIONS, ids=str)
def test_what_was_asked_for_and_cannot_run_has_a_reason(
    implementation: Any, differs: dict[str, Any], why: str, environment: bool
) -> None:
    found = objection(implementation, replace(A100, **differs))
    assert found is not None
    assert why in found.reason
    assert found.environment == environment


@pytest.mark.parametrize("implementation", sorted(EVERYTHING))
def test_all_of_them_can_run_on_a_gpu_with_everything(implementation: Any) -> None:
    assert objection(implementation, A100) is None
    assert objection(implementation, replace(A100, packed=True)) is None


def test_windows_and_packing_without_the_package_leave_nothing() -> None:
    facts = replace(A100, package_problem=NO_PACKAGE, packed=True, whole_past=False)
    found = choose(facts)
    assert isinstance(found, Objection)
    assert not found.environment
    assert f"flash_attention_2: {NO_PACKAGE}" in found.reason
    assert "eager: it cannot keep packed documents apart" in found.reason

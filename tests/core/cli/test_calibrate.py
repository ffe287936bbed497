"""`stoker calibrate`, with models that are smaller still."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stoker.cli import calibrate
from stoker.plan.history import read_history
from stoker.plan.machine import read_machine

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs/schemas/stoker-calibrate.json").read_text("utf-8")
)
SMALLER = """
import sys
from dataclasses import replace
from stoker.train import calibrating
calibrating.ON_CPU = replace(
    calibrating.ON_CPU,
    matrix=128,
    copy_bytes=2**20,
    model={"hidden_size": 32, "num_hidden_layers": 1},
    positions=16,
    rows=1,
)
sys.exit(calibrating.main())
"""


@pytest.fixture
def job(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`job(program)`: what runs instead of the measurement, with a cache of its own and no GPU."""
    monkeypatch.setenv("STOKER_CACHE", str(home / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return lambda program: monkeypatch.setattr(calibrate, "JOB", (sys.executable, "-c", program))


def test_the_machine_is_measured_and_remembered(invoke: Any, job: Any) -> None:
    job(SMALLER)
    result = invoke(calibrate.command, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    Draft202012Validator(SCHEMA).validate(found)
    kinds = [(run["method"], run["precision"]) for run in found["runs"]]
    assert kinds == [
        ("full", "fp32"),
        ("lora", "fp32"),
        ("full", "bf16_mixed"),
        ("lora", "bf16_mixed"),
    ]
    machine = read_machine("cpu")
    assert machine is not None
    assert machine.matmul_flops == found["machine"]["matmul_flops"]
    runs = read_history("cpu")
    assert [run.step_seconds for run in runs] == [run["step_seconds"] for run in found["runs"]]
    assert {run.machine for run in runs} == {machine.t}  # by which they were predicted


LINES = """
import json, sys
print("some library says hello", file=sys.stderr)
machine = {"gpu": "cpu", "matmul_flops": {"2": 2e12, "4": 1e12}, "memory_bandwidth": 5e10}
print(json.dumps({"kind": "machine", **machine}))
run = {"precision": "fp32", "method": "full", "predicted_step_seconds": 0.5, "step_seconds": 0.6}
print(json.dumps({"kind": "run", **run}))
"""


def test_people_read_a_line_for_each_measurement(invoke: Any, job: Any) -> None:
    job(LINES)
    result = invoke(calibrate.command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "cpu: 2 TFLOPS with 2 bytes an element, 1 TFLOPS with 4 bytes an element; memory 50 GB/s",
        "full  fp32        0.6 s a step; the plan said 0.5 s (x 1.20)",
    ]


def test_what_goes_wrong_is_shown_with_its_exit_code(invoke: Any, job: Any) -> None:
    job("import sys; print('stoker: nothing is known of the GPU.', file=sys.stderr); sys.exit(2)")
    result = invoke(calibrate.command, "--json")
    assert result.exit_code == 2
    assert result.stderr == "stoker: nothing is known of the GPU.\n"
    assert result.stdout == ""

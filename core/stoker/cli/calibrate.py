"""`stoker calibrate`: measure this machine, so that plans for it are closer."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import click

from stoker.cli.run_options import print_json
from stoker.errors import MissingRequirementError

# -P: a file in the current folder must not be taken for a library of its name.
JOB = (sys.executable, "-P", "-m", "stoker.train.calibrating")
"""Measures, in a process that may import torch; prints a JSON object a line."""


@click.command(
    help="Measure this machine, so that plans for it are closer.\n\nMatrix products, memory, and a few "
    "steps of small models; less than two minutes. `stoker plan` uses it, and whatever you train here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Start the job in a process that may import torch, and show what it finds."""
    if find_spec("torch") is None:
        raise MissingRequirementError(
            "calibrating trains small models, which needs torch.", hint="pip install 'stoker[train]'"
        )
    found: dict[str, Any] = {"machine": {}, "runs": []}
    # Libraries announce themselves there: shown only if something went wrong.
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(JOB, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            if answer.pop("kind") == "machine":
                found["machine"] = answer
                _say(_machine_line(answer), as_json=as_json)
            else:
                found["runs"].append(answer)
                _say(_run_line(answer), as_json=as_json)
        if process.wait():
            said.seek(0)
            click.echo(said.read().rstrip(), err=True)
            sys.exit(process.returncode)
    if as_json:
        print_json(found)


def _say(line: str, *, as_json: bool) -> None:
    if not as_json:
        click.echo(line)


def _machine_line(machine: Mapping[str, Any]) -> str:
    products = ", ".join(
        f"{flops / 1e12:.3g} TFLOPS with {size} bytes an element"
        for size, flops in sorted(machine["matmul_flops"].items())
    )
    return f"{machine['gpu']}: {products}; memory {machine['memory_bandwidth'] / 1e9:.3g} GB/s"


def _run_line(run: Mapping[str, Any]) -> str:
    said, took = run["predicted_step_seconds"], run["step_seconds"]
    return (
        f"{run['method']:5} {run['precision']:11} {took:.3g} s a step; the plan said {said:.3g} s "
        f"(x {took / said:.2f})"
    )

"""Measures this machine for plans: `python -m stoker.train.calibrating`, one JSON object a line.

A large matrix product and a large copy, then small models through the real loop; each of these is
remembered beside what its plan says without it, as any run is.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from stoker.errors import StokerError, UsageError
from stoker.plan.gpus import CPU, Gpu, find_gpu, recognise
from stoker.plan.grading import ENOUGH_STEPS, WARM_UP_STEPS, graded_run
from stoker.plan.history import remember_run
from stoker.plan.machine import MachineFacts, write_machine
from stoker.plan.plan import Target, make_plan
from stoker.plan.shape import plan_as_dict
from stoker.testing import tiny_fit, write_tiny_model
from stoker.train.garbage import exit_without_collecting

_ROUNDS = 5
_STEPS = WARM_UP_STEPS + ENOUGH_STEPS + 1


@dataclass(frozen=True)
class Sizes:
    """Large enough to keep a device busy, small enough to be done in two minutes."""

    matrix: int
    copy_bytes: int
    model: Mapping[str, int]
    positions: int
    rows: int


ON_CPU = Sizes(
    2048,
    2**28,
    {
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
    positions=256,
    rows=2,
)
ON_CUDA = Sizes(
    8192,
    2**30,
    {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 8,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
    },
    positions=2048,
    rows=4,
)


def main() -> int:
    """Returns the exit code; what is wrong is said on standard error."""
    # What libraries print must not stand between the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers, redirect_stdout(sys.stderr):
        try:
            for answer in calibrate():
                print(json.dumps(answer), file=answers, flush=True)
        except StokerError as error:
            print(f"stoker: {error}", file=sys.stderr)
            return int(error.exit_code)
    return 0


def calibrate() -> Iterator[dict[str, Any]]:
    """First the machine, then one answer for each run. Raises `UsageError` for an unknown GPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = ON_CUDA if device.type == "cuda" else ON_CPU
    gpu = _gpu(device)
    machine = MachineFacts(
        gpu=gpu.name,
        t=time.time(),
        matmul_flops={
            str(dtype.itemsize): _matmul_flops(device, dtype, sizes.matrix) for dtype in _dtypes(device)
        },
        memory_bandwidth=_bandwidth(device, sizes.copy_bytes),
    )
    write_machine(machine)
    yield {"kind": "machine", "gpu": gpu.name, **_shown(machine)}
    for precision, tables in _settings(device):
        yield _run(gpu, precision, tables, sizes)


def _shown(machine: MachineFacts) -> dict[str, Any]:
    return {
        "matmul_flops": dict(machine.matmul_flops),
        "memory_bandwidth": machine.memory_bandwidth,
    }


def _gpu(device: torch.device) -> Gpu:
    if device.type != "cuda":
        return find_gpu(CPU)
    facts = torch.cuda.get_device_properties(device)
    found = recognise(facts.name, facts.total_memory)
    if found is None:
        raise UsageError(f"nothing is known of the GPU {facts.name!r}, so no plan can name it.")
    return found


def _dtypes(device: torch.device) -> list[torch.dtype]:
    has_bf16 = device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 0)
    return [torch.float32, torch.bfloat16 if has_bf16 else torch.float16]


def _matmul_flops(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Of a square product, the median round."""
    a = torch.randn(size, size, device=device, dtype=torch.float32).to(dtype)
    seconds = _median_seconds(device, lambda: a @ a)
    return 2 * size**3 / seconds


def _bandwidth(device: torch.device, num_bytes: int) -> float:
    source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * num_bytes / _median_seconds(device, lambda: target.copy_(source))


def _median_seconds(device: torch.device, work: Any) -> float:
    seconds = []
    for _ in range(_ROUNDS + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _settings(device: torch.device) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Precisions and plugin tables, the common ones."""
    half = "bf16_mixed" if _dtypes(device)[1] == torch.bfloat16 else "fp16_mixed"
    for precision in ("fp32", half):
        yield precision, {}
        yield precision, {"lora": {}}


def _run(gpu: Gpu, precision: str, tables: dict[str, dict[str, Any]], sizes: Sizes) -> dict[str, Any]:
    """Train for a few steps and compare with the plan."""
    with tempfile.TemporaryDirectory(prefix="stoker-calibrate-") as name:
        folder = Path(name)
        write_tiny_model(folder / "model", max_position_embeddings=sizes.positions, **sizes.model)
        text = folder / "text.txt"
        # One token for each byte: enough for all steps without beginning again.
        text.write_text("all work and no play " * (_STEPS * sizes.rows * sizes.positions // 20))
        fit = tiny_fit(folder, tables, [*_overrides(text, precision, sizes)])
        plan = make_plan(fit.run.recipe, Target(gpu))
    graded = graded_run("calibrate", plan_as_dict(plan), fit.events)
    remember_run(graded)
    return {
        "kind": "run",
        "precision": precision,
        "method": graded.method,
        "predicted_step_seconds": graded.predicted_step_seconds,
        "step_seconds": graded.step_seconds,
    }


def _overrides(text: Path, precision: str, sizes: Sizes) -> Iterator[str]:
    yield f'data.train=[{{ path = "{text.as_posix()}", format = "text" }}]'
    yield "data.eval=[]"
    yield f"data.sequence_length={sizes.positions}"
    yield f"train.steps={_STEPS}"
    yield f"train.batch_size={sizes.rows}"
    yield f"train.micro_batch_size={sizes.rows}"
    yield f'train.precision="{precision}"'


if __name__ == "__main__":
    exit_without_collecting(main())

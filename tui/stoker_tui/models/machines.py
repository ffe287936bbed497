"""Types of GPU that a plan can be made for, with what one holds and costs."""

from __future__ import annotations

from stoker.plan.gpus import CPU, known_gpus
from stoker.run.lines import format_bytes


def gpu_choices() -> list[tuple[str, str]]:
    """Name and description of each; the empty name is what this machine has."""
    choices = [("", "its GPUs, else its processor"), (CPU, "the processor of this machine")]
    for name, gpu in known_gpus().items():
        flops = gpu.bf16_flops / 1e12
        precision = "bf16" if gpu.has_bf16 else "fp16"
        choices.append((name, f"{format_bytes(gpu.memory_bytes)}, {flops:,.0f} TFLOPS {precision}"))
    return choices

"""What is asked of one H100: utilisation, Hugging Face's Trainer on the same batches, synchronisations.

    python benchmarks/gpu_asked.py [--tiny] [--kernels] [--steps 10]

A Llama of 1.2 billion parameters with a vocabulary of 128,256 is trained whole, in bfloat16 over float32
weights, on documents packed four to a micro-batch. The Trainer is fed the very micro-batches that stoker
makes. Each setting runs in a process of its own. On a machine without a GPU it says so and exits with 5,
unless --tiny asks for a tiny model, which only shows that the script works; synchronisations are counted
there too, as values that the host reads.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 600.0
DOCUMENTS_OF_A_MICRO_BATCH = 4


@dataclass(frozen=True)
class Setting:
    """A model and how it is trained, the same for stoker and the Trainer."""

    config: Mapping[str, Any]
    """Entries of `config.json`."""
    tokens: int
    """Of a micro-batch."""
    micro_batches: int
    """Of a step."""
    steps: int
    """That are measured, after those that warm up."""
    recomputes: bool = False
    """Full activation checkpointing."""
    kernels: bool = False
    """stoker with the plugin `kernels`."""
    precision: str = "bf16_mixed"

    @property
    def num_documents(self) -> int:
        """Of a step."""
        return DOCUMENTS_OF_A_MICRO_BATCH * self.micro_batches


LARGE = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 16384,
}
TINY = {"max_position_embeddings": 512, "vocab_size": 1024}


def main() -> int:
    """A line for each thing that is asked."""
    from cells import machine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a tiny model, also on a CPU")
    parser.add_argument("--kernels", action="store_true", help="stoker with Liger's kernels")
    parser.add_argument("--steps", type=int, default=10, help="measured steps")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child)
    import torch

    if not (torch.cuda.is_available() or options.tiny):
        print("gpu_asked.py needs a CUDA device; --tiny tries the script out on a CPU.", file=sys.stderr)
        return 5
    steps = 3 if options.tiny else options.steps
    speed = Setting(TINY if options.tiny else LARGE, 4096, 8, steps, kernels=options.kernels)
    if options.tiny:
        speed = dataclasses.replace(speed, tokens=256, micro_batches=2)
    print(f"Machine: {machine()}\n\n| what | measured | asked |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        print_speed(Path(name), speed, machine())
        print_memory(Path(name), speed)
        print_synchronisations(Path(name), speed)
    return 0


def print_speed(folder: Path, setting: Setting, device: str) -> None:
    """Tokens/s and utilisation, in both regimes that compute in bfloat16; then beside the Trainer."""
    mixed = measure(folder, "stoker", setting)
    narrow = measure(folder, "stoker", dataclasses.replace(setting, precision="bf16"))
    for precision, found in (("bf16_mixed", mixed), ("bf16", narrow)):
        _row(f"{precision}: tokens/s", _number(found, "tokens_per_second", ",.0f"), "")
        used = utilisation(found, device)
        text = found.get("problem", "not known of this device") if used is None else f"{used:.1%}"
        _row(f"{precision}: MFU (6 FLOPs a parameter and token; H100: 989 TFLOP/s)", text, ">= 40 %")
    other = measure(folder, "trainer", setting)
    _row(_trainer_words(other), _number(other, "tokens_per_second", ",.0f"), "")
    _row("tokens/s, stoker to Trainer", _ratio(mixed, other, "tokens_per_second"), ">= 1.1")


def print_memory(folder: Path, setting: Setting) -> None:
    """Peaks where logits count: a micro-batch four times as large, blocks recomputed."""
    wide = dataclasses.replace(setting, tokens=4 * setting.tokens, micro_batches=1, recomputes=True)
    ours, other = (measure(folder, what, wide) for what in ("stoker", "trainer"))
    vocabulary = setting.config["vocab_size"]
    for name, found in (("stoker", ours), ("Trainer", other)):
        what = f"{name}: peak allocated, {wide.tokens} tokens, V = {vocabulary}"
        _row(what, _number(found, "peak_bytes", ",.0f", " bytes"), "")
    _row("peak allocated, stoker to Trainer", _ratio(ours, other, "peak_bytes"), "<= 0.55")


def print_synchronisations(folder: Path, setting: Setting) -> None:
    """Between log points, with who made them."""
    found = measure(folder, "synchronisations", setting)
    if "problem" in found:
        return _row("synchronisations a step between log points", found["problem"], "0")
    _row("synchronisations a step between log points", f"{found['count'] / setting.steps:g}", "0")
    for place, count in found["places"].items():
        _row(f"... {place}", str(count), "")
    return None


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _number(found: Mapping[str, Any], key: str, form: str, unit: str = "") -> str:
    if "problem" in found:
        return str(found["problem"])
    return "not known on a CPU" if found[key] is None else f"{found[key]:{form}}{unit}"


def _ratio(ours: Mapping[str, Any], other: Mapping[str, Any], key: str) -> str:
    known = ours.get(key) and other.get(key)
    return f"{ours[key] / other[key]:.2f}" if known else "-"


def _trainer_words(found: Mapping[str, Any]) -> str:
    return f"Trainer, the same batches, attention {found.get('attention', '-')}: tokens/s"


def utilisation(found: Mapping[str, Any], device: str) -> float | None:
    """6 FLOPs per parameter and token, attention not counted, over the device's dense peak."""
    from cells import PEAK_TFLOPS

    peak = next((value for name, value in PEAK_TFLOPS.items() if name in device), None)
    if peak is None or "problem" in found:
        return None
    return float(6 * found["parameters"] * found["tokens_per_second"] / (peak * 1e12))


def measure(folder: Path, what: str, setting: Setting) -> dict[str, Any]:
    """What a process of its own found; a key `problem` where it failed."""
    own = Path(tempfile.mkdtemp(dir=folder))
    (own / "setting.json").write_text(json.dumps(dataclasses.asdict(setting)))
    command = [sys.executable, __file__, "--child", what, str(own)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return {"problem": f"not done after {TIMEOUT_SECONDS:.0f} s"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"problem": last[:160].replace("|", "/")}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def child(what: str, folder: str) -> int:
    """In the process of its own."""
    import gpu_children

    setting = Setting(**json.loads((Path(folder) / "setting.json").read_text()))
    print(json.dumps(gpu_children.CHILDREN[what](Path(folder), setting)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How near the plan's memory comes to what others measured with their trainers.

python benchmarks/plan_memory_published.py [--rows] [--all]

Scores `stoker.plan.memory` on the runs of `published_memory.toml`, beside the formulas of other
estimators as far as they answer for a row. A row is told to the plan as a plugin would tell it, in
the words of `stoker.plan.facts`; what those cannot say is left as it is. Sources that are marked
`aside` were not looked at while the formula was made; they are scored only with `--all`. Needs no torch.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import tomli

from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.facts import Adapter, Checkpointing, Facts, Loss, Optimizer, Quantized, Sharding
from stoker.plan.gpus import find_gpu
from stoker.plan.memory import MemoryEstimate, estimate_memory
from stoker.plan.models import find_model_config
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.trained import inventory_of

PUBLISHED = Path(__file__).with_name("published_memory.toml")
UNITS = {"GB": 1e9, "GiB": 2**30, "MiB": 2**20}
UNKNOWN_GPU = "b200-180gb"
"""Where the source says of no limit."""
GPUS_PER_NODE = 8

OPTIMIZERS = {
    "adamw": Optimizer(),
    # torch.optim.AdamW by default on a GPU: square roots of all second moments at once.
    "adamw-foreach": Optimizer(name="adamw-foreach", step_bytes=2, updates_at_once="all"),
    "8bit": Optimizer("8bit", moment_bytes=1, scale_block=256, smallest_quantized=4096),
    "paged8bit": Optimizer("8bit", moment_bytes=1, scale_block=256, smallest_quantized=4096, paged=True),
    "paged": Optimizer("paged", paged=True),
    "ao8bit": Optimizer("8bit", moment_bytes=1, scale_block=2048, smallest_quantized=4096),
    "ao4bit": Optimizer("4bit", moment_bytes=0.5, scale_block=128, smallest_quantized=4096),
}


@dataclass(frozen=True)
class Row:
    """One published measurement."""

    source: str
    model: str
    aside: bool
    unit: float
    measured: str
    """What was read: `allocated`, `reserved` or `device`."""
    situation: Situation
    facts: Facts
    memory: float | None
    """Bytes; None: it did not fit."""
    device: float | None
    """Bytes that the device showed at the same time."""
    has_limit: bool

    @property
    def estimate(self) -> MemoryEstimate:
        """The plan's."""
        return estimate_memory(self.situation, self.facts)

    @property
    def predicted(self) -> float:
        """Bytes of what was read."""
        estimate = self.estimate
        reserved = estimate.allocated * estimate.reserved_factor
        return {"allocated": estimate.allocated, "reserved": reserved, "device": estimate.total}[
            self.measured
        ]

    @property
    def kind(self) -> str:
        """The class that it is counted in."""
        method = "full" if self.facts.adapter is None else "LoRA"
        method = "QLoRA" if self.facts.quantized else method
        return f"{method}, {'sharded' if self.situation.ranks > 1 else '1 GPU'}"

    @property
    def wrongly_fits(self) -> bool:
        """Whether the plan says `fits` of what did not."""
        return self.memory is None and self.estimate.fits

    @property
    def wrongly_refused(self) -> bool:
        """Whether it says `does not fit` of what did."""
        return self.memory is not None and self.has_limit and not self.estimate.fits

    def __str__(self) -> str:
        batch, facts = self.situation.micro_batch, self.facts
        details = [
            f"{batch.rows}x{batch.positions}",
            facts.optimizer.name if facts.optimizer.name != "adamw" else "",
            facts.checkpointing.mode if facts.checkpointing.mode != "none" else "",
            "on host" if facts.checkpointing.inputs_on_host else "",
            "in backward" if facts.optimizer.in_backward else "",
            "compiled" if facts.compiled != "no" else "",
            f"{self.situation.ranks} GPUs" if self.situation.ranks > 1 else "",
        ]
        return (
            f"{self.source}: {self.model}, {self.kind.split(',')[0]}, {', '.join(filter(None, details))}"
        )


def read_rows() -> list[Row]:
    """All rows, in the order of the file."""
    table = tomli.loads(PUBLISHED.read_text("utf-8"))
    return [_row(run, table) for run in table["runs"]]


def _row(run: Mapping[str, Any], table: Mapping[str, Any]) -> Row:
    source = table["sources"][run["source"]]
    unit = UNITS[source["unit"]]
    ranks, tokens = run.get("gpus", 1), run["rows"] * run["sequence"]
    situation = Situation(
        architecture=_architecture(run["model"], source.get("differences", {}), table["models"]),
        precision=_precision(run, source),
        micro_batch=MicroBatch(run["rows"], run["sequence"], tokens, run["sequence"]),
        gpu=find_gpu(run.get("gpu", source.get("gpu", UNKNOWN_GPU))),
        ranks=ranks,
        nodes=max(1, ranks // GPUS_PER_NODE),
        accumulation=run.get("accumulation", 1),
    )
    return Row(
        source=run["source"],
        model=run["model"],
        aside=source["aside"],
        unit=unit,
        measured=source["measured"],
        situation=situation,
        facts=_facts(run, source, table, tokens),
        memory=run["memory"] * unit if "memory" in run else None,
        device=run["device"] * 2**20 if "device" in run else None,
        has_limit="gpu" in run or "gpu" in source,
    )


def _precision(run: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Where a source does not say, sharded states are in float32, and those on one GPU in bf16."""
    mixed = run.get("gpus", 1) > 1 or "sharding" in run
    return str(run.get("precision", source.get("precision", "bf16_mixed" if mixed else "bf16")))


def _architecture(model: str, differences: Mapping[str, Any], own: Mapping[str, Any]) -> Architecture:
    """`differences`: how a trainer's own models differ from those of transformers."""
    config = dict(own[model] if model in own else find_model_config(model))
    is_gelu = str(config.get("hidden_act", "")).startswith("gelu")
    config |= {key: value for key, value in differences.items() if key != "hidden_act" or is_gelu}
    return _read(json.dumps(config))


@cache
def _read(config: str) -> Architecture:
    return read_architecture(json.loads(config))


def _facts(
    run: Mapping[str, Any], source: Mapping[str, Any], table: Mapping[str, Any], tokens: int
) -> Facts:
    adapter, quantized = _method(run, source, table)
    optimizer = OPTIMIZERS[run.get("optimizer", source["optimizer"])]
    if quantized and run["source"].startswith("litgpt"):
        optimizer = OPTIMIZERS["paged"]
    return Facts(
        sharding=_sharding(run),
        optimizer=replace(
            optimizer,
            in_backward=run.get("in_backward", False),
            # foreach: square roots of all second moments at once, in their dtype
            step_bytes=optimizer.step_bytes * (2 if _precision(run, source) == "bf16_mixed" else 1),
        ),
        adapter=adapter,
        quantized=quantized,
        checkpointing=_checkpointing(run),
        loss=_loss(run, tokens, 4 if _precision(run, source) == "fp32" else 2),
        repeats_keys=source.get("repeats_keys", False),
        packed=run.get("packed", source.get("packed", False)),
        compiled="block" if run.get("compiled") else "no",
    )


def _method(
    run: Mapping[str, Any], source: Mapping[str, Any], table: Mapping[str, Any]
) -> tuple[Adapter | None, Quantized | None]:
    method = run.get("method", "full")
    if method == "full":
        return None, None
    entry = table["adapters"][run.get("adapter", source.get("adapter"))]
    adapter = Adapter(entry["rank"], tuple(entry.get("targets", ())), entry.get("dropout", 0.0))
    # torchtune and `nf4-dq` quantize the scales too: one byte for 64 weights, four for 256 scales.
    double = run.get("double") or run["source"].startswith("torchtune")
    scale = 1 + 4 / 256 if double else 4
    if method == "lora":
        return adapter, None
    return adapter, Quantized(0.5 + scale / 64, 64, keeps_inputs=source.get("keeps_inputs", False))


def _checkpointing(run: Mapping[str, Any]) -> Checkpointing:
    mode = run.get("checkpointing", "none")
    if mode == "selective_half":
        return Checkpointing("selective", products_every=2)
    return Checkpointing(mode, inputs_on_host=run.get("inputs_on_host", False))


def _sharding(run: Mapping[str, Any]) -> Sharding:
    ranks = run.get("gpus", 1)
    cut = {"weights_over": ranks, "gradients_over": ranks, "states_over": ranks}
    if run.get("sharding") == "zero-3":
        # DeepSpeed: bf16 weights, float32 gradients, masters and states.
        kept = {"weight_bytes": 2, "gradient_bytes": 4, "master_bytes": 4, "state_bytes": 4}
        return Sharding(
            "zero-3", **cut, **kept, casts=False, gathers="twice", reduces_each_micro_batch=True
        )
    if ranks > 1:
        return Sharding("fsdp", **cut, by_rows=True, casts=False, gathers="twice")
    return Sharding()


def _loss(run: Mapping[str, Any], tokens: int, item: int) -> Loss:
    """What each trainer's takes: all logits at once, unless the source says otherwise."""
    kind = run.get("loss")
    if kind == "compiled":  # the model casts logits to float32; one kernel makes their gradient
        return Loss(kept_bytes=4, working_bytes=4)
    if (
        kind == "chunked"
    ):  # torchtune's CEWithChunkedOutputLoss, compiled: gradients of one part of eight
        return Loss(kept_bytes=2, working_bytes=2, working_tokens=math.ceil(tokens / 8))
    if (
        kind == "litgpt"
    ):  # 128 positions at a time; logits and their log-softmax, in float32 by bitsandbytes
        item = 4 if run["method"] == "qlora" else 2
        return Loss(kept_bytes=2 * item, working_bytes=item, working_tokens=128 * run["rows"])
    if kind == "fast":  # logits in float32, and their gradient
        return Loss(kept_bytes=4, working_bytes=4)
    if kind == "liger":  # logits of as many tokens at a time as there are hidden states for a vocabulary
        shape = _architecture(run["model"], {}, {})
        at_once = 2 ** math.ceil(math.log2(tokens / math.ceil(shape.vocab_size / shape.hidden_size)))
        return Loss(kept_bytes=0, working_bytes=6, working_tokens=at_once)
    # Logits; in the backward their log-softmax, its gradient and theirs, in float32.
    return Loss(kept_bytes=item, working_bytes=12 - item)


# -- others ---------------------------------------------------------------------------------------


def _sizes(row: Row) -> tuple[float, float, float]:
    """(all, trained, quantized) parameters."""
    inventory = inventory_of(row.situation.architecture, row.facts)
    return (
        inventory.trained + inventory.frozen + inventory.quantized,
        inventory.trained,
        inventory.quantized,
    )


def accelerate(row: Row) -> float | None:
    """Hugging Face accelerate, `estimate-memory`: four times the weights, full training only."""
    total, _, _ = _sizes(row)
    return 4 * 2 * total if row.facts.adapter is None else None


def deepspeed(row: Row) -> float | None:
    """DeepSpeed's estimators: 18 bytes, or ZeRO-3's 4 of the largest layer and 18 over the ranks."""
    if row.facts.adapter is not None:
        return None
    total, _, _ = _sizes(row)
    largest = max(p.numel for p in row.situation.architecture.parameters)
    return 4 * largest + 18 * total / row.situation.ranks


def eleuther(row: Row) -> float | None:
    """EleutherAI's cookbook, `calc_transformer_mem.py`, ZeRO over the ranks; no flash attention."""
    if row.facts.adapter is not None:
        return None
    total, _, _ = _sizes(row)
    a, batch = row.situation.architecture, row.situation.micro_batch
    layer = batch.tokens * a.hidden_size
    scores = 5 * a.num_heads * batch.positions / a.hidden_size
    factor = 34 if row.facts.checkpointing.mode != "none" else 34 + scores
    return 18 * total / row.situation.ranks + layer * a.num_layers * factor


def ftuneai(row: Row) -> float | None:
    """ftuneai 0.4.1 on one GPU: activations by hidden size and layers, a fifth more for CUDA."""
    if row.situation.ranks > 1:
        return None
    total, trained, quantized = _sizes(row)
    a, batch, checkpointing = (
        row.situation.architecture,
        row.situation.micro_batch,
        row.facts.checkpointing,
    )
    weights = 2 * (total - trained - quantized) + 0.5625 * quantized
    factor = (4 if checkpointing.mode != "none" else 10) * 0.5 * (2 if row.facts.quantized else 1)
    activations = batch.tokens * a.hidden_size * a.num_layers * 2 * factor
    return 1.2 * (weights + trained * (2 + 2 + 8) + activations)


def unsloth(row: Row) -> float | None:
    """Unsloth Studio's `vram_estimation.py`, one GPU: 1.4 GiB for CUDA; one or two recomputed layers."""
    if row.situation.ranks > 1:
        return None
    total, trained, quantized = _sizes(row)
    a, batch = row.situation.architecture, row.situation.micro_batch
    weights = 2 * (total - trained - quantized) + 2 * trained + 2 * quantized * 5 / 16
    state = {"8bit": 4, "paged8bit": 4}.get(row.facts.optimizer.name, 6)
    gradients = max(2 * trained, 0.15 * weights)
    heads = a.num_heads + 2 * a.num_key_value_heads
    layer = (heads * a.head_size + 2 + 2 * a.intermediate_size) * batch.tokens * 2 * 1.25
    is_full = row.facts.adapter is None
    layers = a.num_layers if row.facts.checkpointing.mode == "none" else 2 if is_full else 1
    return weights + gradients + state * trained + layer * layers + 1.4 * 2**30


PEERS: Mapping[str, Callable[[Row], float | None]] = {
    "Unsloth Studio": unsloth,
    "ftuneai": ftuneai,
    "DeepSpeed": deepspeed,
    "accelerate": accelerate,
    "EleutherAI": eleuther,
}


# -- tables ---------------------------------------------------------------------------------------


def summary(name: str, errors: Iterable[float]) -> str:
    """A row of the table: predicted over measured, less 1."""
    found = list(errors)
    sizes = sorted(map(abs, found))
    if not sizes:
        return f"| {name} | 0 | | | | |"
    ninetieth = sizes[math.ceil(0.9 * len(sizes)) - 1]
    median, bias = statistics.median(sizes), statistics.median(found)
    return f"| {name} | {len(sizes)} | {median:.1%} | {ninetieth:.1%} | {sizes[-1]:.0%} | {bias:+.1%} |"


def error(row: Row) -> float:
    """Of the plan."""
    assert row.memory is not None
    return row.predicted / row.memory - 1


def print_scores(title: str, rows: Sequence[Row]) -> None:
    """One table."""
    measured = [row for row in rows if row.memory is not None]
    print(f"\n| {title} | n | median | p90 | worst | bias |\n|---|---|---|---|---|---|")
    print(summary("**stoker**", map(error, measured)))
    for kind in sorted({row.kind for row in measured}):
        print(summary(f"stoker: {kind}", (error(row) for row in measured if row.kind == kind)))
    for source in dict.fromkeys(row.source for row in measured):
        print(summary(f"stoker: {source}", (error(row) for row in measured if row.source == source)))
    shown = [(row.estimate.total, row.device) for row in measured if row.device]
    print(
        summary(
            "stoker: what nvidia-smi shows", (total / device - 1 for total, device in shown if device)
        )
    )
    for name, peer in PEERS.items():
        said = [(peer(row), row.memory) for row in measured]
        print(summary(name, (value / memory - 1 for value, memory in said if value and memory)))
    wrong = [row for row in rows if row.wrongly_fits]
    refused = [row for row in rows if row.wrongly_refused]
    did_not = sum(row.memory is None for row in rows)
    print(f"\n`fits` of what ran out of memory: {len(wrong)} of {did_not}. ", end="")
    print(f"`does not fit` of what did: {len(refused)} of {sum(row.has_limit for row in measured)}.")
    for row in [*wrong, *refused]:
        capacity = row.estimate.capacity
        print(f"* {row}: {row.estimate.total / 2**30:.1f} of {capacity / 2**30:.1f} GiB")


def main() -> None:
    """Print the scores, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true", help="print every row")
    parser.add_argument("--all", action="store_true", help="score the sources aside too")
    options = parser.parse_args()
    rows = [row for row in read_rows() if options.all or not row.aside]
    print_scores("looked at", [row for row in rows if not row.aside])
    if options.all:
        print_scores("kept aside", [row for row in rows if row.aside])
    if options.rows:
        for row in rows:
            said = (
                "out of memory"
                if row.memory is None
                else f"{row.memory / row.unit:.1f} ({error(row):+.1%})"
            )
            print(f"{row}: {row.predicted / row.unit:.1f} for {said}, {row.estimate.peak_moment}")


if __name__ == "__main__":
    main()

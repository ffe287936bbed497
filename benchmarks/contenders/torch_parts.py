"""What the contenders in PyTorch share: the model, padding, and the loss on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from workload import IGNORED, Row, Workload, num_targets, read_rows

EVALUATION_ROWS = 8
"""Rows of a micro-batch of an evaluation, which is outside the clock."""


def make_model(workload: Workload) -> Any:
    """The model in float32, under a new adapter if there is to be one."""
    torch.manual_seed(workload.seed)
    model = AutoModelForCausalLM.from_pretrained(workload.model, dtype=torch.float32)
    if workload.adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, workload.adapter, is_trainable=True)


def trainable(model: Any) -> list[torch.nn.Parameter]:
    """Parameters that are trained."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def make_optimizer(model: Any, workload: Workload, *, fused: bool = True) -> torch.optim.AdamW:
    """AdamW without decay; fused, which is what transformers takes by default, and stoker."""
    return torch.optim.AdamW(
        trainable(model), lr=workload.learning_rate, weight_decay=0.0, fused=fused, **workload.options
    )


def autocast(workload: Workload) -> AbstractContextManager[Any]:
    """Products in bfloat16 if the workload asks for it."""
    return torch.autocast("cpu", torch.bfloat16) if workload.precision == "bf16" else nullcontext()


def pad(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each int64 [B, T], padded to the longest row."""
    width = max(len(row["input_ids"]) for row in rows)

    def padded(key: str, value: int) -> torch.Tensor:
        return torch.tensor([row[key] + [value] * (width - len(row[key])) for row in rows])

    lengths = torch.tensor([[len(row["input_ids"])] for row in rows])
    return {
        "input_ids": padded("input_ids", 0),
        "attention_mask": (torch.arange(width)[None] < lengths).long(),
        "labels": padded("labels", IGNORED),
    }


def loss_sum(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum over the supervised tokens, from logits of all positions."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        batch["labels"][:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


def held_out_loss(model: Any, workload: Workload) -> float:
    """Mean over the supervised tokens of the held-out rows."""
    # Neighbours of like length: the sum does not depend on it.
    rows = sorted(read_rows(workload.held_out), key=lambda row: len(row["input_ids"]))
    was_training = model.training
    model.eval()
    total = 0.0
    with torch.no_grad(), autocast(workload):
        for first in range(0, len(rows), EVALUATION_ROWS):
            total += float(loss_sum(model, pad(rows[first : first + EVALUATION_ROWS])))
    model.train(was_training)
    return total / num_targets(rows)

"""The same by hand with all that makes it fast: no padding, and the head on supervised tokens only.

Rows of a micro-batch lie one after the other in one row; attention is computed for each document by
itself, so none sees another; logits exist for supervised tokens only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_parts import autocast, held_out_loss, make_model, make_optimizer, trainable
from transformers import AttentionInterface
from workload import IGNORED, Meter, Row, Workload, num_targets, read_rows, steps_of

NAME = "per_document"


def per_document(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    document_lengths: Sequence[int] = (),
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each document. query [1, H, T, d], key and value [1, K, T, d]; gives
    [1, T, H, d]."""
    parts = [part.split(list(document_lengths), dim=2) for part in (query, key, value)]
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=True
        )
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def packed_loss_sum(causal_model: Any, rows: Sequence[Row]) -> Tensor:
    """Sum over the supervised tokens."""
    lengths = [len(row["input_ids"]) for row in rows]
    input_ids = torch.tensor([token for row in rows for token in row["input_ids"]])[None]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    # Position t predicts token t + 1; the last of a document predicts nothing.
    labels = torch.tensor([label for row in rows for label in [*row["labels"][1:], IGNORED]])
    index = (labels != IGNORED).nonzero()[:, 0]
    hidden = causal_model.model(
        input_ids=input_ids, position_ids=positions, use_cache=False, document_lengths=lengths
    ).last_hidden_state[0]
    logits = causal_model.lm_head(hidden[index])
    return torch.nn.functional.cross_entropy(logits.float(), labels[index], reduction="sum")


def main(workload: Workload) -> None:
    """Train and report."""
    AttentionInterface.register(NAME, per_document)
    rows = read_rows(workload.rows)
    model = make_model(workload)
    model.train()
    causal_model = model if workload.adapter is None else model.get_base_model()
    causal_model.set_attn_implementation(NAME)
    optimizer = make_optimizer(model, workload)

    def graded() -> float:
        causal_model.set_attn_implementation("sdpa")
        loss = held_out_loss(model, workload)
        causal_model.set_attn_implementation(NAME)
        return loss

    meter = Meter()
    meter.start()
    for step in steps_of(workload, rows):
        divisor = sum(num_targets(micro_batch) for micro_batch in step)
        total = torch.zeros(())
        for micro_batch in step:
            with autocast(workload):
                loss = packed_loss_sum(causal_model, micro_batch) / divisor
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(trainable(model), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        meter.step(total.item())
        meter.evaluate(workload, graded)
    meter.report()


if __name__ == "__main__":
    main(Workload.read(sys.argv[1]))

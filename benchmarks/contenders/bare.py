"""A PyTorch loop as one writes it by hand: padded micro-batches, logits of every position."""

from __future__ import annotations

import sys

import torch
from torch_parts import autocast, held_out_loss, loss_sum, make_model, make_optimizer, pad, trainable
from workload import Meter, Workload, num_targets, read_rows, steps_of


def main(workload: Workload) -> None:
    """Train and report."""
    rows = read_rows(workload.rows)
    model = make_model(workload)
    model.train()
    optimizer = make_optimizer(model, workload)
    meter = Meter()
    meter.start()
    for step in steps_of(workload, rows):
        divisor = sum(num_targets(micro_batch) for micro_batch in step)
        total = torch.zeros(())
        for micro_batch in step:
            with autocast(workload):
                loss = loss_sum(model, pad(micro_batch)) / divisor
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(trainable(model), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        meter.step(total.item())
        meter.evaluate(workload, lambda: held_out_loss(model, workload))
    meter.report()


if __name__ == "__main__":
    main(Workload.read(sys.argv[1]))

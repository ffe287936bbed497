"""Lightning's Trainer around the padded model.

Its accumulation averages the means of micro-batches; the loss here is divided by the supervised tokens
of the whole step instead, as all others do.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import lightning
import torch
from torch_parts import held_out_loss, loss_sum, make_model, make_optimizer, pad
from workload import Meter, Workload, num_targets, read_rows, steps_of

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


class Module(lightning.LightningModule):
    """The model, its loss and its optimizer."""

    def __init__(self, workload: Workload, meter: Meter) -> None:
        super().__init__()
        self.workload, self.meter = workload, meter
        self.model = make_model(workload)
        self._total = 0.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The same as everybody's, but that Lightning clips no fused one in mixed precision."""
        return make_optimizer(self.model, self.workload, fused=self.workload.precision == "fp32")

    def on_train_start(self) -> None:
        """The first step begins."""
        self.model.train()
        self.meter.start()

    def training_step(self, batch: dict[str, Any], number: int) -> torch.Tensor:
        """This micro-batch's share; Lightning divides by the number of micro-batches."""
        loss = loss_sum(self.model, batch["tensors"]) / batch["divisor"]
        self._total += loss.item()
        return loss * self.workload.micro_batches

    def on_train_batch_end(self, outputs: Any, batch: Any, number: int) -> None:
        """Was it the last of its step?"""
        if (number + 1) % self.workload.micro_batches == 0:
            self.meter.step(self._total)
            self._total = 0.0
            self.meter.evaluate(self.workload, lambda: held_out_loss(self.model, self.workload))


def main(workload: Workload) -> None:
    """Train and report."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    meter = Meter()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        precision=PRECISIONS[workload.precision],
        max_steps=workload.steps,
        accumulate_grad_batches=workload.micro_batches,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=workload.folder,
    )
    batches = []
    for step in steps_of(workload, read_rows(workload.rows)):
        divisor = sum(num_targets(rows) for rows in step)
        batches += [{"rows": rows, "divisor": divisor} for rows in step]
    loader = torch.utils.data.DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        collate_fn=lambda item: {"tensors": pad(item["rows"]), "divisor": item["divisor"]},
    )
    trainer.fit(Module(workload, meter), loader)
    meter.report()


if __name__ == "__main__":
    main(Workload.read(sys.argv[1]))

"""TRL's SFTTrainer, with its defaults or (`--best`) as fast as it legally goes on this machine.

Legal: the same rows in each step, and no document sees another. Best: without gradient checkpointing,
which is on by default; `padding_free`, for which TRL warns without FlashAttention, while transformers
keeps the documents apart from their positions (the loss curve says whether it did). Its packing cuts
rows into other batches than those of a step, so it is no configuration of the same work.
"""

from __future__ import annotations

import sys
from typing import Any

from datasets import Dataset
from torch_parts import make_model
from trainer_parts import Clock, equal_work
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer
from workload import Workload, read_rows

BEST: dict[str, Any] = {
    "gradient_checkpointing": False,
    "padding_free": True,
    "max_length": None,  # not to be had with padding_free; the rows are cut already
}


def main(workload: Workload, best: bool) -> None:
    """Train and report."""
    further = BEST if best else {}
    arguments = SFTConfig(**{"max_length": workload.sequence_length, **further, **equal_work(workload)})
    clock = Clock(workload)
    trainer = SFTTrainer(
        model=make_model(workload),
        args=arguments,
        train_dataset=Dataset.from_list(read_rows(workload.rows)),
        processing_class=AutoTokenizer.from_pretrained(workload.model),
        callbacks=[clock],
    )
    trainer.train()
    clock.meter.report(**further)


if __name__ == "__main__":
    main(Workload.read(sys.argv[1]), best="--best" in sys.argv[2:])

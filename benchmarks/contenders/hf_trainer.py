"""Hugging Face's Trainer with its defaults: rows padded to the longest of their micro-batch."""

from __future__ import annotations

import sys

from torch_parts import make_model
from trainer_parts import Clock, equal_work
from transformers import AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
from workload import Workload, read_rows


def main(workload: Workload) -> None:
    """Train and report."""
    arguments = TrainingArguments(**equal_work(workload))
    tokenizer = AutoTokenizer.from_pretrained(workload.model)
    rows = read_rows(workload.rows)
    clock = Clock(workload)
    trainer = Trainer(
        model=make_model(workload),
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        callbacks=[clock],
    )
    trainer.train()
    clock.meter.report()


if __name__ == "__main__":
    main(Workload.read(sys.argv[1]))

"""What Hugging Face's Trainer and TRL's share: arguments that make the work equal, and the clock."""

from __future__ import annotations

from typing import Any

from torch_parts import held_out_loss
from transformers import TrainerCallback
from workload import Meter, Workload


def equal_work(workload: Workload) -> dict[str, Any]:
    """Arguments that say how much is trained, not how; everything else stays as it is by default."""
    return {
        "output_dir": workload.folder,
        "use_cpu": True,
        "max_steps": workload.steps,
        "per_device_train_batch_size": workload.micro_batch_size,
        "gradient_accumulation_steps": workload.micro_batches,
        "learning_rate": workload.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": workload.precision == "bf16",
        "train_sampling_strategy": "sequential",
        "seed": workload.seed,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **workload.options,
    }


class Clock(TrainerCallback):
    """Takes the time at the boundaries of steps, and the losses that the trainer logs."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.meter = Meter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The first step begins."""
        self.meter.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step ended."""
        self.meter.step()
        self.meter.evaluate(self.workload, lambda: held_out_loss(kwargs["model"], self.workload))

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The mean loss of the step that ended, and at the very end a summary without one."""
        if "loss" in kwargs["logs"]:
            self.meter.losses.append(float(kwargs["logs"]["loss"]))

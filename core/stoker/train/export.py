"""Writes a run's result for other libraries: `python -m stoker.train.export RUN --to DIR`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from torch import nn

from stoker.checkpoint.finding import Checkpoint, list_checkpoints, survey
from stoker.checkpoint.reading import CheckpointSource
from stoker.errors import StokerError, StorageError, UsageError
from stoker.recipe.lock import read_lock
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.train.build import construct_model, run_outside_training, weight_source
from stoker.train.garbage import exit_without_collecting
from stoker.train.model import make_model
from stoker.train.precision import REGIMES
from stoker.train.weights import WeightSource, fill, replace_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Export one checkpoint; prints the directory it wrote."""
    parser = argparse.ArgumentParser(prog="python -m stoker.train.export")
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--step", type=int)
    options = parser.parse_args(arguments)
    try:
        export(RunDirectory(options.run), options.to, merge=options.merge, step=options.step)
    except StokerError as error:
        print(f"stoker: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def export(directory: RunDirectory, target: Path, *, merge: bool, step: int | None) -> None:
    """Write a checkpoint's model to `target`, which must be new or empty.

    Written beside it first and renamed, so that a broken export is never mistaken for one.
    Raises `UsageError` where there is nothing to export or the target is taken, `StorageError`
    where it cannot be written.
    """
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file.", hint="Choose another directory for --to.")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty.", hint="Choose another directory for --to.")
    checkpoint = choose_checkpoint(directory, step)
    checkpoint.verify()
    run = run_outside_training(read_lock(directory.lock_path), directory)
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_export(run, CheckpointSource(checkpoint), unfinished, merge=merge)
        if target.exists():
            target.rmdir()
        os.rename(unfinished, target)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"{target} could not be written: {error}.", hint="Make room, or choose another place."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_export(run: Run, source: WeightSource, directory: Path, *, merge: bool) -> None:
    """Let the plugin that knows how write the model, else write it whole."""
    run.hooks.own(
        "export_model",
        lambda: export_full(run, source, directory),
        run=run,
        source=source,
        directory=directory,
        merge=merge,
    )


def choose_checkpoint(directory: RunDirectory, step: int | None) -> Checkpoint:
    """The checkpoint of `step`, else the run's result, else the newest."""
    found = {checkpoint.step: checkpoint for checkpoint in list_checkpoints(directory.checkpoints_path)}
    if not found:
        damaged = [each.problem for each in survey(directory.checkpoints_path)]
        if damaged:
            raise StorageError(
                f"no checkpoint of {directory.name!r} is valid: {' '.join(damaged)}",
                hint=f"Look with: stoker verify {directory.name}.",
            )
        raise UsageError(f"run {directory.name!r} has no checkpoint yet.")
    if step is not None and step not in found:
        steps = ", ".join(str(known) for known in found)
        raise UsageError(f"run {directory.path.name!r} has no checkpoint of step {step}: {steps}.")
    if step is not None:
        return found[step]
    result = directory.read_record().result
    for checkpoint in found.values():
        if result is not None and checkpoint.path.name == Path(result).name:
            return checkpoint
    return found[max(found)]


def export_dtype(run: Run) -> torch.dtype:
    """Weights are written in the compute dtype: what inference will use them in."""
    return REGIMES[run.recipe.train.precision].compute


def build_model_on_meta(run: Run) -> nn.Module:
    """The adapted model without values."""
    with init_empty_weights(include_buffers=False):
        return construct_model(run, None)


def build_filled_model(run: Run, source: WeightSource) -> nn.Module:
    """The adapted model on the CPU in float32, with the checkpoint's values over the base's."""
    model = build_model_on_meta(run)
    values = run.hooks.collect_mapping("collect_initial_values", run=run, model=model)
    _place(model)
    fill(model, weight_source(run, model, values, [source]), torch.device("cpu"))
    return model


def export_full(run: Run, source: WeightSource, directory: Path, *, unties: bool = False) -> bool:
    """A directory for `AutoModelForCausalLM.from_pretrained`: weights, config and tokenizer.

    `unties` writes a head of its own, also for a model whose head was its embedding.
    """
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    with init_empty_weights(include_buffers=False):
        model: Any = run.hooks.own(
            "make_model", lambda: make_model(run, {}, unties=unties), run=run, engine=None
        )
    run.base_modules = dict(model.named_modules())
    run.parameter_shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    _place(model)
    fill(model, weight_source(run, model, {}, [source]), torch.device("cpu"))
    model.to(export_dtype(run)).save_pretrained(directory)
    run.tokenizer.save_pretrained(directory)
    return True


def _place(model: nn.Module) -> None:
    replace_parameters(
        model, lambda p: nn.Parameter(torch.empty(p.shape), requires_grad=p.requires_grad)
    )


if __name__ == "__main__":
    exit_without_collecting(main())

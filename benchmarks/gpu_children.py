"""The processes of `gpu_asked.py`: stoker, the Trainer on its batches, and what waits for the device."""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tomlkit
import torch
from gpu_asked import Setting
from torch.utils._python_dispatch import TorchDispatchMode

from stoker.data.batches import Batch
from stoker.dispatch import Hooks
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.recipe.loading import load_recipe
from stoker.registry import arrange, make_plugins
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.testing import write_tiny_model
from stoker.train import build
from stoker.train.boundary import Boundary
from stoker.train.evaluate import Evaluator
from stoker.train.loop import train
from stoker.train.saving import Saver
from stoker.train.signals import SignalFlags

WARM_UP = 3
"""Steps before those that are measured; in the third, stoker looks whether every tensor learns."""
IGNORED = -100
_WAITS = ("_local_scalar_dense", "nonzero", "masked_select")


class Window(Plugin[PluginConfig]):
    """Begins something with the first measured step and ends it with the last."""

    def __init__(self, last: int, begin: Callable[[], None], end: Callable[[], None]) -> None:
        super().__init__(PluginConfig())
        self._last, self._begin, self._end = last, begin, end

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        if state.step == WARM_UP + 1:
            self._begin()

    @hookimpl
    def on_step_end(self, state: Any) -> None:
        if state.step == self._last:
            self._end()


class Stretch:
    """Time and peak between two moments, the device being done at both."""

    def __init__(self) -> None:
        self.seconds = float("nan")
        self.peak_bytes: int | None = None
        self._is_cuda = torch.cuda.is_available()
        self._began = 0.0

    def begin(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._began = time.perf_counter()

    def end(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize()
            self.peak_bytes = torch.cuda.max_memory_allocated()
        self.seconds = time.perf_counter() - self._began

    def report(self, setting: Setting, model: torch.nn.Module) -> dict[str, Any]:
        """With tied embeddings a parameter counts once."""
        tokens = setting.tokens * setting.micro_batches * setting.steps
        return {
            "tokens_per_second": tokens / self.seconds,
            "peak_bytes": self.peak_bytes,
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def make_run(folder: Path, setting: Setting, further: Mapping[str, Plugin[Any]]) -> Run:
    """A run of the setting; `folder` is empty but for its file."""
    os.environ["STOKER_CACHE"] = str(folder / "cache")
    write_tiny_model(folder / "model", **setting.config)
    length = setting.tokens // 4
    # One token a byte, one for the end; the number makes documents differ.
    texts = [f"{number:06d}" * length for number in range(2 * setting.num_documents)]
    lines = [f'{{"text": "{text[: length - 1]}"}}\n' for text in texts]
    (folder / "data.jsonl").write_text("".join(lines))
    plugins: dict[str, Any] = {"packing": {"tokens": setting.tokens}}
    if setting.recomputes:
        plugins["activation_checkpointing"] = {}
    if setting.kernels:
        plugins["kernels"] = {"required": True}
    recipe = {
        "run": {"name": "asked"},
        "model": {"path": str(folder / "model"), "initial_weights": "random"},
        "data": {
            "train": [{"path": str(folder / "data.jsonl"), "format": "text"}],
            "sequence_length": length,
            "supervise": "all",
        },
        "train": {
            "steps": WARM_UP + setting.steps,
            "batch_size": setting.num_documents,
            "micro_batch_size": 4,
            "learning_rate": 1e-4,
            "schedule": "constant",
            "warmup": 0,
            "precision": setting.precision,
            "log_every": 1_000_000,
        },
        "checkpoint": {"every": "1000000 steps"},
        "plugins": plugins,
    }
    (folder / "recipe.toml").write_text(tomlkit.dumps(recipe))
    loaded = load_recipe(folder / "recipe.toml")
    directory = RunDirectory.create(folder / "runs", "asked", loaded)
    hooks = Hooks({**further, **arrange(make_plugins(loaded.plugins))})
    return Run(loaded, hooks, directory, EventWriter(directory.events_path, 1, 0))


def train_with(folder: Path, setting: Setting, window: Window) -> torch.nn.Module:
    """The loop as `stoker run` has it."""
    run, signals = make_run(folder, setting, {"window": window}), SignalFlags()
    run.hooks.notify("on_run_start", run=run)
    data = build.build_data(run, signals)
    engine = build.build_engine(run)
    boundary = Boundary(run, signals)
    order = build.build_order(run, data)
    state = build.build_state(run, order, build.build_model(run, engine))
    evaluator = Evaluator(state, None, boundary)
    with build.prefetch(state, data.train) as batches:
        train(state, batches, evaluator, Saver(boundary), boundary)
    return state.model


def stoker(folder: Path, setting: Setting) -> dict[str, Any]:
    """stoker's own speed and peak."""
    stretch = Stretch()
    window = Window(WARM_UP + setting.steps, stretch.begin, stretch.end)
    model = train_with(folder, setting, window)
    return stretch.report(setting, model)


class HostReads(TorchDispatchMode):
    """Operations that bring a value to the host, and the lines of Python that asked for them."""

    def __init__(self, places: Counter[str]) -> None:
        super().__init__()
        self._places = places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(func) for name in _WAITS):
            frames = [f for f in traceback.extract_stack()[:-1] if f"{os.sep}torch{os.sep}" not in f[0]]
            self._places[f"{func}: {Path(frames[-1].filename).name}:{frames[-1].lineno}"] += 1
        return func(*args, **(kwargs or {}))


def synchronisations(folder: Path, setting: Setting) -> dict[str, Any]:
    """On CUDA what torch warns of as a synchronisation; on a CPU values that the host reads."""
    places: Counter[str] = Counter()
    stack = ExitStack()
    seen: list[warnings.WarningMessage] = []

    def begin() -> None:
        if torch.cuda.is_available():
            caught = stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            stack.callback(seen.extend, caught)
            stack.callback(torch.cuda.set_sync_debug_mode, "default")
            torch.cuda.set_sync_debug_mode("warn")
        else:
            stack.enter_context(HostReads(places))

    train_with(folder, setting, Window(WARM_UP + setting.steps, begin, stack.close))
    for warning in seen:
        if "synchroniz" in str(warning.message):
            places[f"{Path(warning.filename).name}:{warning.lineno}"] += 1
    return {"count": sum(places.values()), "places": dict(places)}


def trainer(folder: Path, setting: Setting) -> dict[str, Any]:
    """Hugging Face's Trainer with its defaults, fed the micro-batches of the same steps."""
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    batches = micro_batches(folder, setting)
    stretch = Stretch()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == WARM_UP:
                stretch.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == WARM_UP + setting.steps:
                stretch.end()

    is_cuda = torch.cuda.is_available()
    attention = "flash_attention_2" if is_cuda and find_spec("flash_attn") else "sdpa"
    config = AutoConfig.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        use_cpu=not is_cuda,
        max_steps=WARM_UP + setting.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=setting.micro_batches,
        gradient_checkpointing=setting.recomputes,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        bf16=True,
        train_sampling_strategy="sequential",
        logging_steps=1_000_000,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    Trainer(
        model=model,
        args=arguments,
        train_dataset=batches,
        data_collator=lambda rows: rows[0],
        callbacks=[Clock()],
    ).train()
    return {**stretch.report(setting, model), "attention": attention}


def micro_batches(folder: Path, setting: Setting) -> list[dict[str, torch.Tensor]]:
    """Those of all steps, as stoker's plan and its plugin `packing` make them."""
    from stoker.data.batches import collate_plan, plan_step

    run = make_run(folder, setting, {})
    data = build.build_data(run, SignalFlags())
    order = build.build_order(run, data)
    batching = run.hooks.own("make_batching", lambda: None, run=run)
    collator = run.hooks.own("make_collator", lambda: None, run=run)
    made = []
    for step in range(1, WARM_UP + setting.steps + 1):
        batches = collate_plan(
            plan_step(order, data.train, step, batching), data.train, collator
        ).batches
        assert len(batches) == setting.micro_batches, "documents fill the micro-batches of a step"
        made.extend(map(_for_trainer, batches))
    return made


def _for_trainer(batch: Batch) -> dict[str, torch.Tensor]:
    """[1, T] each. transformers finds documents by positions that begin at 0 again."""
    assert batch.documents is not None
    labels = torch.full_like(batch.input_ids, IGNORED)
    # It moves labels by one; the last token of a document predicts nothing.
    labels.view(-1)[batch.target_index + 1] = batch.targets
    positions = batch.documents.positions
    return {"input_ids": batch.input_ids, "position_ids": positions, "labels": labels}


CHILDREN: Mapping[str, Callable[[Path, Setting], dict[str, Any]]] = {
    "stoker": stoker,
    "trainer": trainer,
    "synchronisations": synchronisations,
}

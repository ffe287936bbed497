"""What ranks of the pool do for the tests of ZeRO."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import StokerError
from stoker.testing import tiny_fit
from stoker.testing.tiny import write_tiny_model

WORK = Path(__file__).as_posix()


def master_weights(engine: Any) -> dict[str, Any]:
    """This rank's part of every trainable weight, by name and where it begins."""
    return {
        f"{piece.name}/{piece.start}": piece.flat.detach().clone()
        for piece in engine.tensors()
        if piece.kind == "weight"
    }


class Spoiler(Plugin[PluginConfig]):
    """Puts a value into one gradient of one rank in one step; remembers weights around every step."""

    def __init__(self, step: int, value: float, rank: int) -> None:
        super().__init__(PluginConfig())
        self.step, self.value, self.rank = step, value, rank
        self.changed: list[bool] = []

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        self.before = master_weights(state.engine)
        if state.step == self.step and state.run.rank == self.rank:
            part = next(
                part for _, part in state.engine.gradients() if part is not None and part.numel()
            )
            part[0] = self.value

    @hookimpl
    def on_step_end(self, state: Any) -> None:
        after = master_weights(state.engine)
        self.changed.append(any(not torch.equal(after[key], self.before[key]) for key in after))


def fit_spoilt(
    folder: str, table: dict[str, Any], step: int, overrides: list[str] | None = None
) -> dict[str, Any]:
    """A gradient of the last rank becomes infinite in `step`: which steps changed the weights?"""
    spoiler = Spoiler(step, float("inf"), rank=1)
    try:
        tiny_fit(Path(folder), {"zero": table, "spoiler": spoiler}, overrides or [])
    except StokerError as error:
        return {"exit_code": int(error.exit_code), "changed": spoiler.changed}
    return {"exit_code": 0, "changed": spoiler.changed}


class Copy:
    """Stands for a copy of a gradient to host memory that is under way, as on a GPU."""

    arrived = False

    def synchronize(self) -> None:
        self.arrived = True


class SlowCopies(Plugin[PluginConfig]):
    """Leaves such a copy behind every backward; remembers which had arrived when the loop went on."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.arrived: list[bool] = []

    @hookimpl
    def on_micro_batch_end(self, state: Any) -> None:
        from deepspeed.accelerator import get_accelerator

        self.copy = Copy()
        pending = state.engine.deepspeed.optimizer._pending_offload_events
        pending[get_accelerator().current_stream()] = self.copy

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        self.arrived.append(self.copy.arrived)


def fit_with_slow_copies(folder: str, table: dict[str, Any]) -> list[bool]:
    """For each step, whether gradients had arrived in host memory before anything looked at them."""
    copies = SlowCopies()
    tiny_fit(Path(folder), {"zero": table, "copies": copies})
    return copies.arrived


def fit_twice(folder: str, table: dict[str, Any]) -> dict[str, Any]:
    """Bytes of all tensors that are alive after each of two runs, and of the model's weights."""
    alive = []
    for _ in range(2):
        fit = tiny_fit(Path(folder), {"zero": table}, ["train.steps=1"])
        weights = sum(4 * shape.numel() for shape in fit.run.parameter_shapes.values())
        del fit
        gc.collect()
        alive.append(_bytes_alive())
    return {"alive": alive, "weights": weights}


def _bytes_alive() -> int:
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for tensor in gc.get_objects()
        if type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.device.type == "cpu"
    }
    return sum(storages.values())


def fit_wide(
    folder: str,
    plugins: dict[str, dict[str, Any]],
    overrides: list[str] | None = None,
    directory: str | None = None,
) -> dict[str, Any]:
    """Train a model whose parts are large enough to be moved to NVMe, and look where they are."""
    from stoker.run.directory import RunDirectory

    if dist.get_rank() == 0 and not (Path(folder) / "model").exists():
        write_tiny_model(
            Path(folder) / "model", vocab_size=4096, hidden_size=256, intermediate_size=2048
        )
    dist.barrier()
    inspector = Inspector(PluginConfig())
    given = None if directory is None else RunDirectory(Path(directory))
    fit = tiny_fit(Path(folder), {**plugins, "inspector": inspector}, overrides or [], directory=given)
    return {
        "losses": fit.losses,
        "norms": [event["grad_norm"] for event in fit.of_kind("step")],
        "directory": str(fit.directory.path),
        "files": inspector.files,
        "bytes": inspector.num_bytes,
    }


class Inspector(Plugin[PluginConfig]):
    """Lists the files of this rank on NVMe during training, and counts the bytes that are in memory."""

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.files: list[str] = []
        self.num_bytes: dict[str, int] = {}

    @hookimpl
    def on_train_end(self, state: Any) -> None:
        folder = getattr(state.engine, "swap_folder", None)
        if folder is None:
            return
        self.files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.swp"))
        for component, tensor in state.engine.held():
            self.num_bytes[component] = self.num_bytes.get(component, 0) + tensor.nbytes


class Counter(Plugin[PluginConfig]):
    """Counts the bytes that the engine holds when gradients are complete, each storage once."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.num_bytes: dict[str, int] = {}

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        storages: dict[int, tuple[str, int]] = {}
        for component, tensor in state.engine.held():
            storage = tensor.untyped_storage()
            storages.setdefault(storage._cdata, (component, storage.nbytes()))
        self.num_bytes = {"elements": sum(s.numel() for s in state.run.parameter_shapes.values())}
        for component, size in storages.values():
            self.num_bytes[component] = self.num_bytes.get(component, 0) + size


def fit_and_count(folder: str, table: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Bytes by component in the middle of the last step, and the model's elements."""
    counter = Counter()
    tiny_fit(Path(folder), {"zero": table, "counter": counter}, overrides)
    return {"bytes": counter.num_bytes}

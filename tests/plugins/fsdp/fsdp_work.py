"""What ranks of the pool do for the tests of `fsdp`."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.distributed.fsdp import FSDPModule
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.errors import NonFiniteError, StokerError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit, write_tiny_model

WIDE_HEADS = {"num_attention_heads": 20, "num_key_value_heads": 20}


class Probe(Plugin[PluginConfig]):
    """Looks at the engine in the middle of a run."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.bytes_by_component: dict[str, int] = {}
        self.bytes_between_micro_batches: list[int] = []
        self.names_of_shards: list[str] = []

    @hookimpl
    def on_micro_batch_end(self, state: Any) -> None:
        held = state.engine.held()
        self.bytes_between_micro_batches.append(
            sum(tensor.nbytes for component, tensor in held if component == "gradients")
        )

    @hookimpl
    def on_step_end(self, state: Any) -> None:
        """Weights and states; gradients are gone."""
        self._count(state, ("weights", "optimizer"))

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        self._count(state, ("gradients",))

    def _count(self, state: Any, components: tuple[str, ...]) -> None:
        sizes: Counter[str] = Counter()
        for component, tensor in state.engine.held():
            # AdamW's step counts are a few bytes for each tensor.
            sizes[component] += tensor.nbytes if tensor.dim() else 0
        self.bytes_by_component |= {component: sizes[component] for component in components}

    @hookimpl
    def on_evaluate_end(self, state: Any) -> None:
        """Nothing may stay gathered, or a checkpoint taken now would hold the wrong tensors."""
        self.names_of_shards = [
            name for name, parameter in state.model.named_parameters() if hasattr(parameter, "to_local")
        ]


def measure(
    folder: str, plugins: dict[str, dict[str, Any]], overrides: list[str] | None = None
) -> dict[str, Any]:
    """Bytes of this rank by component, its pieces, and what the probe saw."""
    probe = Probe()
    fit = tiny_fit(Path(folder), {**plugins, "probe": probe}, overrides or [])
    pieces = list(fit.run.engine.tensors())
    return {
        "bytes": probe.bytes_by_component,
        "between": probe.bytes_between_micro_batches,
        "sharded": probe.names_of_shards,
        "pieces": [[p.name, p.kind, list(p.shape), p.start, p.stop, p.flat.numel()] for p in pieces],
        "losses": fit.losses,
    }


class Poison(Plugin[PluginConfig]):
    """Puts a NaN into one rank's part of a gradient, in one step."""

    def __init__(self, rank: int, step: int) -> None:
        super().__init__(PluginConfig())
        self.rank, self.step = rank, step
        self.skipped: list[float] = []
        self.finite = True

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        if state.step == self.step and state.run.rank == self.rank:
            part = next(
                part for _, part in state.engine.gradients() if part is not None and part.numel()
            )
            part.view(-1)[0] = torch.nan

    @hookimpl
    def on_step_end(self, state: Any) -> None:
        self.skipped.append(float(state.engine.skipped()))
        held = [tensor for component, tensor in state.engine.held() if component != "gradients"]
        self.finite &= all(bool(torch.isfinite(tensor).all()) for tensor in held)


def poisoned(folder: str, precision: str, poisoned_rank: int) -> dict[str, Any]:
    """A run in which one rank's gradient is no number in step 2: what each rank made of it."""
    poison = Poison(poisoned_rank, 2)
    message = ""
    try:
        tiny_fit(
            Path(folder),
            {"fsdp": {}, "poison": poison},
            [f"train.precision={precision}", "train.steps=4", "train.log_every=4"],
        )
    except NonFiniteError as error:
        message = error.message
    return {"skipped": poison.skipped, "finite": poison.finite, "error": message}


class GatherRecorder(Plugin[PluginConfig]):
    """Records how many blocks are gathered as each begins its forward and its backward."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.forward: list[int] = []
        self.after_forward: list[int] = []

    @hookimpl
    def on_train_start(self, state: Any) -> None:
        blocks = list(state.model.model.layers)

        def asked() -> int:
            groups = [block._get_fsdp_state()._fsdp_param_groups[0] for block in blocks]
            return sum(group.is_unsharded or group._all_gather_result is not None for group in groups)

        for block in blocks:
            block.self_attn.register_forward_pre_hook(lambda *_: self.forward.append(asked()))
        norm = state.model.model.norm
        norm.register_forward_pre_hook(lambda *_: self.after_forward.append(asked()))


def gathered(folder: str, options: dict[str, Any]) -> dict[str, list[int]]:
    """Blocks that are gathered, or being gathered, as each block computes and after the last."""
    recorder = GatherRecorder()
    plugins: dict[str, Any] = {"fsdp": options, "recorder": recorder}
    tiny_fit(Path(folder), plugins, ["train.steps=1", "data.eval=[]"])
    return {"forward": recorder.forward, "after": recorder.after_forward}


def parts(folder: str, options: dict[str, Any]) -> dict[str, Any]:
    """Names of the modules that are sharded as one, and of the parameters left to the root."""
    found: dict[str, Any] = {}

    class Look(Plugin[PluginConfig]):
        @hookimpl
        def on_train_start(self, state: Any) -> None:
            modules = dict(state.model.named_modules())
            inside = [name for name, module in modules.items() if isinstance(module, FSDPModule)]
            found["parts"] = [name for name in inside if name]
            found["root"] = [
                name
                for name, _ in state.model.named_parameters()
                if not any(name.startswith(f"{part}.") for part in found["parts"])
            ]
            found["device"] = {str(tensor.device) for _, tensor in state.engine.held()}.pop()
            found["offloads"] = type(
                modules[""]._get_fsdp_state()._fsdp_param_groups[0].offload_policy
            ).__name__

    tiny_fit(Path(folder), {"fsdp": options, "look": Look(PluginConfig())}, ["train.steps=1"])
    return found


class StopHere(StokerError):
    """The weights are loaded: nothing more is wanted."""


class LoadOnly(Plugin[PluginConfig]):
    """Measures from the engine's making to the loaded weights, and ends the run there."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.peak = 0
        self.at_start = 0
        self._done = threading.Event()

    @hookimpl
    def collect_model_kwargs(self) -> dict[str, Any]:
        self.at_start = self.peak = anonymous_bytes()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return {}

    def _sample(self) -> None:
        while not self._done.wait(0.002):
            self.peak = max(self.peak, anonymous_bytes())

    @hookimpl
    def on_train_start(self, state: Any) -> None:
        self._done.set()
        self._thread.join()
        raise StopHere("loaded")


def anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def write_large_model(folder: str) -> int:
    """A model of 317 M parameters, all zero, one file for each block; its size in bytes in float32."""
    directory = write_tiny_model(
        Path(folder), hidden_size=1280, intermediate_size=3456, num_hidden_layers=16, **WIDE_HEADS
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    files: dict[str, list[str]] = {}
    for name in shapes:
        files.setdefault("-".join(name.split(".")[:3]) + ".safetensors", []).append(name)
    for file, names in files.items():
        save_file({name: torch.zeros(shapes[name]) for name in names}, directory / file)
    weight_map = {name: file for file, names in files.items() for name in names}
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return sum(4 * shape.numel() for shape in shapes.values())


def load_growth(warm: str, folder: str) -> int:
    """Peak growth of anonymous memory while the model in `folder` is built and loaded."""
    tiny_fit(Path(warm), {"fsdp": {}}, ["train.steps=1"])
    probe = LoadOnly()
    try:
        tiny_fit(
            Path(folder),
            {"fsdp": {}, "load_only": probe},
            ["model.initial_weights=pretrained", "train.precision=fp32"],
        )
    except StopHere:
        return probe.peak - probe.at_start
    raise AssertionError("the run was not stopped")

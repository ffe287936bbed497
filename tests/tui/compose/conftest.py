"""A recipe in a folder of its own, a real bench for all tests, and one whose answers never change."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker_tui.app import Cockpit
from stoker_tui.models.compose.bench import Bench
from stoker_tui.models.compose.document import Document
from stoker_tui.models.open_recipe import Machine, OpenRecipe
from stoker_tui.models.session import Options, Session

RECIPE = """\
# A recipe to be edited.
[run]
name = "smoke"

[model]
path = "demo:tiny-llama"
initial_weights = "random"

[data]
train = [{ path = "demo:docstrings" }]
eval = [{ path = "demo:docstrings", split = "eval" }]
sequence_length = 512

[train]
steps = 20                  # twenty are enough
batch_size = 8
micro_batch_size = 4
learning_rate = 3e-3

[plugins.demo]
max_train_rows = 256
"""

GIGA = 1e9
PLAN: dict[str, Any] = {
    "name": "smoke",
    "model": {"path": "demo:tiny-llama", "parameters": 8_190_735_360, "trained": 8_190_735_360},
    "situation": {
        "engine": "fsdp-full_shard", "method": "full", "precision": "bf16_mixed", "offload": "none",
        "checkpointing": "full", "quantization": "none", "packing": "none",
    },
    "fits": True,
    "gpu": "h100-80gb",
    "gpus": 8,
    "nodes": 1,
    "per_gpu": {
        "weights": 4.1 * GIGA, "gradients": 4.1 * GIGA, "master_weights": 0, "optimizer": 8.2 * GIGA,
        "activations": 2.7 * GIGA, "logits": 14.9 * GIGA, "buffers": 1.2 * GIGA, "context": GIGA,
        "allocated": 35.2 * GIGA, "total": 42.9 * GIGA, "capacity": 84.9 * GIGA,
    },
    "peak_moment": "backward",
    "host_bytes": 0,
    "nvme_bytes": 0,
    "disk_bytes": 491.4 * GIGA,
    "tokens": None,
    "steps": 1000,
    "micro_batch": {"rows": 1, "accumulation": 8},
    "step_seconds": {"low": 4.5, "mid": 5.14, "high": 5.9},
    "tokens_per_second": {"low": 44_000, "mid": 50_976, "high": 58_000},
    "mfu": 0.32,
    "hours": {"low": 1.24, "mid": 1.43, "high": 1.64},
    "cost_usd": {"low": 26.54, "mid": 30.52, "high": 35.1},
    "spot_usd": None,
    "prices": [
        {
            "gpu": "h100-80gb", "provider": "vast", "spot": False, "as_of": "2026-10-24",
            "usd_per_gpu_hour": {"low": 2.67, "mid": 2.67, "high": 2.67},
            "source": "an average over offers",
        }
    ],
    "assumptions": ["time: from published runs; nine in ten were within 15%."],
    "findings": ["the data are not known here: `--count` tokenises them."],
}  # fmt: skip


def candidate(gpus: int, usd: float, hours: float, **values: str) -> dict[str, Any]:
    """A row of a comparison: LoRA where `method` says so, else the recipe's own training."""
    axes = {"engine": "default", "checkpointing": "none", "offload": "none", **values}
    plugins: dict[str, Any] = {"demo": {"max_train_rows": 256}}
    plugins |= {"lora": {}} if axes.get("method") == "lora" else {}
    return {
        "gpu": "h100-80gb",
        "gpus": gpus,
        "nodes": 1,
        "values": axes,
        "micro_batch_size": 2,
        "accumulation": 4,
        "total_bytes": 60 * GIGA,
        "capacity_bytes": 84.9 * GIGA,
        "hours": hours,
        "cost_usd": usd,
        "cheapest": usd < 20,
        "fastest": hours < 1,
        "on_front": True,
        "changes": {
            "train": {"micro_batch_size": 2},
            "launch": {"gpus_per_node": gpus, "nodes": 1},
            "plugins": plugins,
        },
        "to_fill_in": [],
    }


COMPARISON: dict[str, Any] = {
    "candidates": [candidate(1, 16.79, 6.29), candidate(8, 26.43, 0.79), candidate(4, 28.0, 2.6)],
    "fitting": 62,
    "considered": 80,
    "refused": {"engine 'zero-1' with offload 'nvme': stage 3 only.": 5},
    "notes": [],
}


class CannedBench:
    """Answers from memory, so that what screens show is the same everywhere and any day."""

    def __init__(self, schema: dict[str, Any], plan: dict[str, Any], problems: list[Any]) -> None:
        self._schema = schema
        self.answer = {"ok": not problems, "problems": problems, "plan": plan, "unplanned": None}
        self.asked: list[dict[str, Any]] = []

    def schema(self) -> dict[str, Any]:
        return self._schema

    def close(self) -> None:
        """Nothing to end."""

    def plan(self, text: str, path: Path | None, overrides: Any = (), **machines: Any) -> dict[str, Any]:
        self.asked.append(machines)
        return self.answer

    def neighbours(self, text: str, path: Path | None, overrides: Any = (), **_: Any) -> dict[str, Any]:
        cheaper = {**candidate(1, 16.79, 6.29), "words": "1 GPU"}
        faster = {**candidate(8, 26.43, 0.79), "words": "checkpointing none"}
        return {"cheaper": cheaper, "faster": faster, "steps": 1000}

    def compare(
        self, text: str, path: Path | None, overrides: Any = (), **options: Any
    ) -> dict[str, Any]:
        self.asked.append(options)
        return COMPARISON


class QuickBench(Bench):
    """A real one that looks for no neighbours, which takes longest, and that outlives a cockpit."""

    def close(self) -> None:
        """Not yet."""

    def end(self) -> None:
        super().close()

    def neighbours(self, text: str, path: Path | None, overrides: Any = (), **_: Any) -> dict[str, Any]:
        return {"cheaper": None, "faster": None, "steps": 1000}


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Iterator[Bench]:
    """A real one; nothing that this machine has measured counts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        bench = QuickBench()
        bench.schema()
    yield bench
    bench.end()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder that the cockpit is started in; names of files are short there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def composing(folder, bench) -> Callable[..., Cockpit]:
    """`composing(text=RECIPE, path="smoke.toml", plan=None, ...)`: a cockpit with a recipe in Compose.

    With `plan` the bench's answers are canned.
    """

    def make(
        text: str = RECIPE,
        path: str = "smoke.toml",
        start: str = "compose",
        plan: dict[str, Any] | None = None,
        problems: list[Any] | None = None,
        **options: bool,
    ) -> Cockpit:
        Path(path).write_text(text)
        session = Session(Path("runs"), Options(**options))
        machine = Machine("h100-80gb", 8)
        session.draft = OpenRecipe(Document.open(Path(path)), machine)
        canned = CannedBench(bench.schema(), plan, problems or []) if plan else bench
        session.__dict__["bench"] = canned
        return Cockpit(session, start)

    return make


@pytest.fixture
def canned_plan() -> dict[str, Any]:
    """A plan that fits, to be changed as one likes."""
    return copy.deepcopy(PLAN)


@pytest.fixture
def canned_comparison() -> dict[str, Any]:
    """Three rows of a comparison."""
    return copy.deepcopy(COMPARISON)


@pytest.fixture
def recipe_text() -> str:
    """The recipe that is edited."""
    return RECIPE

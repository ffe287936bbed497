"""A planner of a few lines: bytes per parameter, activations by token, hours by FLOPs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stoker.advice.estimator import Candidate, Estimate
from stoker.advice.question import Question
from stoker.cli.matrix import load_all
from stoker.errors import UsageError
from stoker.matrix import Matrix
from stoker.plan.seed import DIVIDED
from stoker.plan.time import Span

MODELS = {
    "llama-3-8b": 8e9,
    "llama-3-70b": 70e9,
    "qwen2.5-0.5b": 0.5e9,
    "qwen2.5-7b": 7e9,
    "qwen2.5-72b": 72e9,
    "llama-3.1-405b": 405e9,
}
GPUS = {"t4-16gb": 16e9, "rtx-4090": 24e9, "l40s-48gb": 48e9, "a100-80gb": 80e9, "h200-141gb": 141e9}
REGIMES = {"bf16_mixed": (4, 4, 8), "fp16_mixed": (4, 4, 8), "bf16_fp32_states": (2, 2, 8)}


class SmallPlanner:
    """Counts what its questions are."""

    price: float | None = 2.0
    spot_price: float | None = 1.0

    price_of: Mapping[str, float] = {}

    def __init__(self) -> None:
        self.asked: list[Candidate] = []

    def estimate(self, candidate: Candidate) -> Estimate:
        self.asked.append(candidate)
        parameters = self.num_parameters(candidate.model)
        sizes = REGIMES.get(candidate.precision, (2, 2, 4))
        if candidate.values.get("optimizer") == "adamw_8bit":
            sizes = (*sizes[:2], 2)
        trained = parameters if candidate.method == "full" else parameters * 0.002
        divided = DIVIDED[candidate.values.get("engine", "default")]
        parts = {
            name: trained * each / (candidate.gpus if name in divided else 1)
            for name, each in zip(("weights", "gradients", "optimizer"), sizes, strict=True)
        }
        host = 0.0
        if candidate.values.get("offload") == "cpu":
            host, parts["optimizer"] = parts["optimizer"] * candidate.gpus_per_node, 0.0
        if candidate.method != "full":
            frozen = parameters * (0.6 if candidate.method == "qlora" else 2)
            parts["weights"] += frozen / (candidate.gpus if "weights" in divided else 1)
        kept = 0.1 if candidate.values.get("checkpointing") == "full" else 1.0
        tokens = candidate.micro_batch_size * candidate.row_tokens
        parts["activations"] = tokens * math.sqrt(parameters) * 60 * kept
        total = sum(parts.values())
        work = {"full": 8, "lora": 6, "qlora": 8}[candidate.method] * parameters
        flops = work * candidate.rows * candidate.epochs * candidate.mean_tokens
        hours = flops / 1.5e14 / 3600 / candidate.gpus
        return Estimate(
            fits=total <= GPUS[candidate.gpu],
            total_bytes=total,
            capacity_bytes=GPUS[candidate.gpu],
            per_gpu=parts,
            host_bytes=host,
            hours=Span(hours * 0.8, hours, hours * 1.2),
            usd=self._usd(hours * candidate.gpus, self.price_of.get(candidate.gpu, self.price)),
            spot_usd=self._usd(hours * candidate.gpus, self.spot_price),
        )

    @staticmethod
    def _usd(gpu_hours: float, price: float | None) -> Span | None:
        usd = gpu_hours * (price or 0.0)
        return Span(usd * 0.8, usd, usd * 1.2) if price else None

    def memory_bytes(self, gpu: str) -> float:
        if gpu not in GPUS:
            raise UsageError(f"no GPU {gpu!r} is known.")
        return GPUS[gpu]

    def has_bf16(self, gpu: str) -> bool:
        return gpu != "t4-16gb"

    def gpus(self) -> list[str]:
        return list(GPUS)

    def num_parameters(self, model: str) -> float:
        return MODELS[model]

    def max_positions(self, model: str) -> int:
        return 8192

    def known_models(self) -> Mapping[str, float]:
        return MODELS


@pytest.fixture(scope="session")
def matrix() -> Matrix:
    """Of all plugins that are installed."""
    return Matrix(load_all()[0])


@pytest.fixture
def planner() -> SmallPlanner:
    return SmallPlanner()


@pytest.fixture
def ask() -> Callable[..., Question]:
    """A question with some of its answers changed."""

    def make(**changes: Any) -> Question:
        usual = {"model": "llama-3-8b", "examples": 20_000, "gpu": "a100-80gb", "gpus": 4}
        return Question(**{**usual, **changes})

    return make

"""A plan as the JSON that `stoker plan --json` prints and a run keeps: docs/schemas/stoker-plan.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stoker.plan.memory import COMPONENTS
from stoker.plan.time import PARTS

if TYPE_CHECKING:
    from stoker.plan.cost import CostEstimate
    from stoker.plan.plan import Plan
    from stoker.plan.prices import Price
    from stoker.plan.time import Span


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """Bytes, seconds, US dollars; `total` is the peak that torch reserves plus the context."""
    memory, time, cost = plan.memory, plan.time, plan.cost
    return {
        "v": 1,
        "name": plan.name,
        "model": {
            "path": plan.model,
            "type": plan.architecture.model_type,
            "parameters": plan.architecture.num_parameters,
            "trained": plan.trained_parameters,
        },
        "situation": dict(plan.values),
        "fits": plan.fits,
        "gpu": plan.target.gpu.name,
        "gpus": plan.target.gpus,
        "nodes": plan.target.nodes,
        "per_gpu": {
            **{name: round(memory.per_component.get(name, 0.0)) for name in COMPONENTS},
            "context": round(memory.context),
            "allocated": round(memory.allocated),
            "total": round(memory.total),
            "capacity": round(memory.capacity),
        },
        "peak_moment": memory.peak_moment,
        "moments": {
            moment: {name: round(size) for name, size in components.items()}
            for moment, components in memory.moments.items()
        },
        "host_bytes": round(memory.host_bytes),
        "nvme_bytes": round(memory.nvme_bytes),
        "disk_bytes": round(memory.disk_bytes),
        "tokens": round(plan.tokens.mid) if plan.tokens else None,
        "tokens_range": _span(plan.tokens),
        "steps": plan.steps,
        "micro_batch": {
            "rows": plan.situation.micro_batch.rows,
            "positions": plan.situation.micro_batch.positions,
            "supervised": plan.situation.micro_batch.supervised,
            "accumulation": plan.situation.accumulation,
        },
        "step_seconds": _span(time.step_seconds if time else None),
        "tokens_per_second": _span(time.tokens_per_second if time else None),
        "mfu": time.mfu if time else None,
        "hfu": time.hfu if time else None,
        "seconds_by_part": {name: getattr(time, name) for name in PARTS} if time else None,
        "hours": _span(time.hours if time else None),
        "cost_usd": _span(cost.on_demand_usd if cost else None),
        "spot_usd": _span(cost.spot_usd if cost else None),
        "spot_hours": _span(cost.spot_hours if cost else None),
        "usd_per_million_tokens": cost.usd_per_million_tokens if cost else None,
        "prices": _prices(cost),
        "calibration": {
            "runs": time.calibrated_runs if time else 0,
            "uncalibrated_step_seconds": plan.uncalibrated_step_seconds,
            "machine": plan.machine,
        },
        "assumptions": list(plan.assumptions),
        "findings": list(plan.findings),
    }


def _span(span: Span | None) -> dict[str, float] | None:
    return None if span is None else {"low": span.low, "mid": span.mid, "high": span.high}


def _prices(cost: CostEstimate | None) -> list[dict[str, Any]]:
    prices = [cost.on_demand, cost.spot] if cost else []
    return [_price(price) for price in prices if price is not None]


def _price(price: Price) -> dict[str, Any]:
    return {
        "gpu": price.gpu,
        "provider": price.provider,
        "spot": price.is_spot,
        "usd_per_gpu_hour": {"low": price.low, "mid": price.mid, "high": price.high},
        "as_of": price.as_of_text,
        "source": price.source,
    }

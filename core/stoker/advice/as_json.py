"""Advice in the shape of `stoker advise --json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stoker.advice.advise import Advice
from stoker.advice.search import Choice


def as_dict(advice: Advice) -> dict[str, Any]:
    """The shape of `stoker advise --json`."""
    question = advice.question
    return {
        "status": advice.status,
        "recommended": choice_dict(advice.choice),
        "smallest": choice_dict(advice.rung.elsewhere)
        if advice.rung and advice.status == "does_not_fit"
        else None,
        "spot": advice.spot,
        "reasons": [vars(reason) for reason in advice.reasons],
        "trace": [
            {
                "rule": step.rule.name,
                "asks": step.rule.asks,
                "holds": step.holds,
                "decides": step.decides,
                "trains": step.rule.trains,
            }
            for step in advice.decision.trace
        ],
        "cheaper": choice_dict(advice.cheaper),
        "better": choice_dict(advice.better),
        "ladder": [
            {
                "name": rung.name,
                "method": rung.method,
                "model": rung.model,
                "fits_here": rung.here is not None,
                "choice": choice_dict(rung.choice),
            }
            for rung in advice.ladder
        ],
        "assumed": list(question.assumed),
    }


def choice_dict(choice: Choice | None) -> dict[str, Any] | None:
    """One way to train, in bytes, hours and dollars."""
    if choice is None:
        return None
    candidate, estimate = choice.candidate, choice.estimate
    return {
        "model": candidate.model,
        "method": candidate.method,
        "values": dict(candidate.values),
        "gpu": candidate.gpu,
        "gpus": candidate.gpus,
        "nodes": candidate.nodes,
        "batch_size": candidate.batch_size,
        "micro_batch_size": candidate.micro_batch_size,
        "accumulation": candidate.accumulation,
        "sequence_length": candidate.row_tokens,
        "epochs": candidate.epochs,
        "total_bytes": round(estimate.total_bytes),
        "capacity_bytes": round(estimate.capacity_bytes),
        "per_gpu": {name: round(size) for name, size in estimate.per_gpu.items()},
        "host_bytes": round(estimate.host_bytes),
        "hours": asdict(estimate.hours),
        "cost_usd": asdict(estimate.usd) if estimate.usd else None,
        "spot_usd": asdict(estimate.spot_usd) if estimate.spot_usd else None,
        "provider": estimate.provider,
        "spot_provider": estimate.spot_provider,
        "notes": list(estimate.notes),
    }

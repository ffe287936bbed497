"""What a plan says, in the words and numbers that screens show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.cli.plan_lines import format_count, format_hours, format_usd
from stoker.plan.memory import COMPONENTS
from stoker.plan.time import Span
from stoker.run.lines import clean, format_bytes

_LEAST_SHOWN = 1e-4
"""Of the largest component."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Component:
    """Some of what lies in a GPU's memory at the peak."""

    name: str
    size: float
    """Bytes."""


@dataclass(frozen=True)
class PlanView:
    """A plan, or what of it is left in a run directory."""

    name: str
    situation: str
    """`Qwen/Qwen3-8B, 8.191 B parameters, full, bf16_mixed, fsdp-full_shard`."""
    machine: str
    """`8 x h100-80gb on 2 nodes`."""
    engine: str
    """With the method where it is not full training: `lora, default`."""
    checkpointing: str
    offload: str
    rows: str
    """Rows of a micro-batch and how many are added up: `2 x 4`."""
    fits: bool
    components: tuple[Component, ...]
    total: float
    """Bytes of one GPU at the peak."""
    capacity: float
    """Bytes that one GPU offers."""
    peak: str
    """When the peak is: `backward`."""
    steps: str
    """`1,000 steps of 5.14 s`; empty where their number is not known."""
    hours: str
    """`1.43 h (1.24 to 1.64)`; empty where not known."""
    speed: str
    """`50,976 tokens/s, MFU 32%`; empty where not known."""
    cost: str
    """`$30.52 (26.54 to 35.10)`; empty where not known."""
    rate: str
    """`$2.67 per GPU-hour at vast, as of 2026-10-24`; empty where no price is known."""
    source: str
    """Where the rate is from."""
    spot: str
    """`$82.82 (...), $6.57 per GPU-hour at gcp, as of 2026-09-26`, or empty."""
    mid_hours: float | None
    mid_usd: float | None
    elsewhere: tuple[str, ...]
    """What lies outside the GPU: host memory, NVMe, disk."""
    assumptions: tuple[str, ...]
    findings: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """`FITS` or `DOES NOT FIT`."""
        return "FITS" if self.fits else "DOES NOT FIT"

    @property
    def memory(self) -> str:
        """`42.9 GB of 84.9 GB`."""
        return f"{format_bytes(self.total)} of {format_bytes(self.capacity)}"

    @property
    def share(self) -> str:
        """`42.9 GB 51%`: what is taken, and its share of the GPU."""
        return memory_share(self.total, self.capacity)

    @property
    def money(self) -> str:
        """The cost with its rate, or why there is none."""
        if self.cost:
            return f"{self.cost}, {self.rate}"
        return f"cost not known, {self.rate}" if self.rate else "no price is known"


def plan_view(plan: Json) -> PlanView:
    """Of the JSON of `stoker plan`, also of plan.json. Raises KeyError or TypeError for others."""
    per_gpu = plan["per_gpu"]
    on_demand = _price(plan, spot=False)
    spot = _price(plan, spot=True)
    return PlanView(
        name=clean(str(plan["name"])),
        situation=_situation(plan),
        machine=_machine(plan),
        engine=_engine(plan),
        checkpointing=clean(plan["situation"].get("checkpointing", "none")),
        offload=clean(plan["situation"].get("offload", "none")),
        rows=f"{plan['micro_batch']['rows']} x {plan['micro_batch']['accumulation']}",
        fits=bool(plan["fits"]),
        components=_components(per_gpu),
        total=per_gpu["total"],
        capacity=per_gpu["capacity"],
        peak=str(plan.get("peak_moment", "")),
        steps=_steps(plan),
        hours=_span_text(plan.get("hours"), "hours"),
        speed=_speed(plan),
        cost=_span_text(plan.get("cost_usd"), "usd"),
        rate=_rate(on_demand),
        source=clean(str(on_demand.get("source", ""))),
        spot=_spot(plan, spot),
        mid_hours=_mid(plan.get("hours")),
        mid_usd=_mid(plan.get("cost_usd")),
        elsewhere=_elsewhere(plan),
        assumptions=_sentences(plan.get("assumptions")),
        findings=_sentences(plan.get("findings")),
    )


def memory_share(total: float, capacity: float) -> str:
    """`75.7 GB 89%`."""
    return f"{format_bytes(total)} {total / capacity:.0%}"


def usd_words(usd: float | None) -> str:
    """`$26.43`, or a dash where no price is known."""
    return "-" if usd is None else f"${usd:,.2f}"


def short_hours(hours: float | None) -> str:
    """`1.24 h`, `12.3 min`, `4.2 s`, or a dash where nobody knows."""
    if hours is None:
        return "-"
    if hours >= 1:
        return f"{hours:,.0f} h" if hours >= 100 else f"{hours:.3g} h"
    return f"{hours * 60:.3g} min" if hours * 60 >= 1 else f"{hours * 3600:.2g} s"


def method_of(values: Json) -> str:
    """`lora`, `qlora`, `full`, of the axes of a plan or of a candidate."""
    quantized = values.get("quantization", "none") != "none"
    return f"{'q' if quantized else ''}{values['method']}"


def why_unplanned(answer: Json) -> str:
    """Why the bench's answer has no plan."""
    unplanned = answer.get("unplanned")
    if unplanned:
        return clean(f"{unplanned['message']} {unplanned['hint']}".strip())
    first = next((each for each in answer["problems"] if each["severity"] == "error"), None)
    found = f": {first['key']}: {first['message']}" if first else ""
    return clean(f"no plan while the recipe has problems{found}")


def _components(per_gpu: Json) -> tuple[Component, ...]:
    sizes = [(name.replace("_", " "), float(per_gpu.get(name) or 0.0)) for name in COMPONENTS]
    context = float(per_gpu.get("context") or 0.0)
    reserved = per_gpu["total"] - context - (per_gpu.get("allocated") or 0.0)
    sizes += [("allocator", reserved), ("context", context)]
    largest = max(size for _, size in sizes)
    return tuple(Component(name, size) for name, size in sizes if size > _LEAST_SHOWN * largest)


def _situation(plan: Json) -> str:
    model, values = plan["model"], plan["situation"]
    words = [str(model["path"]), f"{format_count(model['parameters'])} parameters"]
    words += [method_of(values), values["precision"]]
    words += [values["engine"]] if values["engine"] != "default" else []
    for axis in ("checkpointing", "offload", "packing"):
        if values.get(axis, "none") not in ("none", "default"):
            words.append(f"{axis} {values[axis]}")
    return clean(", ".join(words))


def _engine(plan: Json) -> str:
    method, engine = method_of(plan["situation"]), plan["situation"]["engine"]
    return clean(engine if method == "full" else f"{method} {engine}")


def _machine(plan: Json) -> str:
    where = f"{plan['gpus']} x {plan['gpu']}"
    return clean(where + (f" on {plan['nodes']} nodes" if plan["nodes"] > 1 else ""))


def _steps(plan: Json) -> str:
    if plan.get("steps") is None:
        return ""
    step = plan.get("step_seconds")
    of = f" of {step['mid']:.3g} s" if step else ""
    return f"{plan['steps']:,} steps{of}"


def _speed(plan: Json) -> str:
    speed, mfu = plan.get("tokens_per_second"), plan.get("mfu")
    if not speed:
        return ""
    return f"{speed['mid']:,.0f} tokens/s" + (f", MFU {mfu:.0%}" if mfu else "")


def _span_text(span: Json | None, unit: str) -> str:
    if not span:
        return ""
    found = Span(span["low"], span["mid"], span["high"])
    return format_usd(found) if unit == "usd" else format_hours(found)


def _mid(span: Json | None) -> float | None:
    return float(span["mid"]) if span else None


def _price(plan: Json, *, spot: bool) -> Json:
    """The price of that kind, or an empty mapping."""
    prices: Sequence[Json] = plan.get("prices") or ()
    return next((price for price in prices if bool(price["spot"]) == spot), {})


def _rate(price: Json) -> str:
    if not price:
        return ""
    span = price["usd_per_gpu_hour"]
    amount = f"${span['low']:g}" + (f" to ${span['high']:g}" if span["high"] > span["low"] else "")
    return clean(f"{amount} per GPU-hour at {price['provider']}, as of {price['as_of']}")


def _spot(plan: Json, price: Json) -> str:
    cost = _span_text(plan.get("spot_usd"), "usd")
    return f"{cost}, {_rate(price)}" if cost and price else ""


def _elsewhere(plan: Json) -> tuple[str, ...]:
    kinds = (
        ("host memory of a rank", "host_bytes"),
        ("NVMe of a rank", "nvme_bytes"),
        ("disk for checkpoints", "disk_bytes"),
    )
    return tuple(f"{name} {format_bytes(plan[key])}" for name, key in kinds if plan.get(key))


def _sentences(found: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(clean(str(sentence)) for sentence in found or ())

"""A plan as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stoker.plan.memory import COMPONENTS, MOMENTS
from stoker.plan.time import PARTS
from stoker.run.lines import format_bytes

if TYPE_CHECKING:
    from stoker.plan.plan import Plan
    from stoker.plan.prices import Price
    from stoker.plan.time import Span

_BAR_WIDTH = 28
_NAME_WIDTH = 16
_LEAST_SHOWN = 1e-4
"""Of the largest component."""


def plan_lines(plan: Plan) -> Iterator[str]:
    """What `stoker plan` prints."""
    yield _title(plan)
    yield ""
    yield from _memory_lines(plan)
    yield from _elsewhere_lines(plan)
    yield ""
    yield from _time_lines(plan)
    yield from _cost_lines(plan)
    for name, sentences in (("assumptions", plan.assumptions), ("findings", plan.findings)):
        if sentences:
            yield ""
            yield name
            yield from (f"  - {sentence}" for sentence in sentences)


def formula_lines(plan: Plan) -> Iterator[str]:
    """What `--explain` adds: a line for each formula, one for its value and where it is from."""
    from stoker.plan.explaining import explain

    yield "\nformulas"
    for formula in explain(plan):
        yield f"  {formula.name:15}= {formula.terms}"
        source = f"  [{formula.source}]" if formula.source else ""
        yield f"  {'':15}= {formula.value}{source}"


def _title(plan: Plan) -> str:
    target, values = plan.target, plan.values
    where = f"{target.gpus} x {target.gpu.name}"
    where += f" on {target.nodes} nodes" if target.nodes > 1 else ""
    chosen = [values["method"], values["precision"]]
    chosen += [values["engine"]] if values["engine"] != "default" else []
    chosen += [f"{axis} {value}" for axis, value in _beyond_defaults(plan)]
    parameters = format_count(plan.architecture.num_parameters)
    return f"{plan.name}: {plan.model}, {parameters} parameters, {', '.join(chosen)}, on {where}"


def _beyond_defaults(plan: Plan) -> Iterator[tuple[str, str]]:
    for axis in ("checkpointing", "quantization", "offload", "packing"):
        value = plan.values.get(axis, "none")
        if value not in ("none", "default"):
            yield axis, value


def _memory_lines(plan: Plan) -> Iterator[str]:
    memory = plan.memory
    yield f"memory of a GPU, at its peak in the {memory.peak_moment}"
    shares = [(name.replace("_", " "), memory.per_component.get(name, 0.0)) for name in COMPONENTS]
    reserved = memory.allocated * (memory.reserved_factor - 1)
    shares += [("allocator", reserved), ("context", memory.context)]
    largest = max(size for _, size in shares)
    for name, size in shares:
        if size >= _LEAST_SHOWN * largest:
            bar = "#" * round(_BAR_WIDTH * size / largest)
            yield f"  {name:{_NAME_WIDTH}}{format_bytes(size):>12}  {bar}".rstrip()
    verdict = "fits" if memory.fits else "DOES NOT FIT"
    total = f"{format_bytes(memory.total)} of {format_bytes(memory.capacity)}"
    yield f"  {'total':{_NAME_WIDTH}}{total:>12}: {verdict}"
    moments = [
        f"{name} {format_bytes(sum(memory.moments[name].values()))}"
        for name in MOMENTS
        if name in memory.moments
    ]
    yield f"  tensors at the end of each moment: {', '.join(moments)}"


def _elsewhere_lines(plan: Plan) -> Iterator[str]:
    memory = plan.memory
    for name, size in (
        ("host memory of a rank", memory.host_bytes),
        ("NVMe of a rank", memory.nvme_bytes),
        ("disk for checkpoints", memory.disk_bytes),
    ):
        if size:
            yield f"  {name}: {format_bytes(size)}"


def _time_lines(plan: Plan) -> Iterator[str]:
    time = plan.time
    if time is None or plan.steps is None:
        yield "time: not known, because the number of steps is not (see findings)"
        return
    step = f"{_short(time.step_seconds.mid)} s"
    yield f"time: {format_hours(time.hours)}, {plan.steps:,} steps of {step}"
    speed = time.tokens_per_second
    tokens = f", {format_count(plan.tokens.mid)} tokens in all" if plan.tokens else ""
    rate = f"{speed.mid:,.0f} tokens/s ({speed.low:,.0f} to {speed.high:,.0f})"
    padding = "left out" if plan.data else "included, because the data are not counted"
    yield f"  {rate}, padding {padding}{tokens}"
    yield f"  MFU {time.mfu:.0%} (what training needs), HFU {time.hfu:.0%} (what is executed)"
    parts = [(name, getattr(time, name)) for name in PARTS]
    shown = [f"{name} {seconds / time.step_seconds.mid:.0%}" for name, seconds in parts if seconds]
    yield f"  of a step: {', '.join(shown)}"


def _cost_lines(plan: Plan) -> Iterator[str]:
    cost = plan.cost
    if cost is None:
        if plan.time is not None:
            yield "cost: no price is known; give one with --price or --prices"
        return
    if cost.on_demand_usd is not None and cost.on_demand is not None:
        yield f"cost: {format_usd(cost.on_demand_usd)}, {_price(cost.on_demand)}"
    if cost.spot_usd is not None and cost.spot is not None and cost.spot_hours is not None:
        yield (
            f"  spot: {format_usd(cost.spot_usd)}, {_price(cost.spot)}; "
            f"{format_hours(cost.spot_hours)} with what is done twice"
        )
    if cost.usd_per_million_tokens is not None:
        yield f"  ${cost.usd_per_million_tokens:,.3g} for a million tokens"


def _price(price: Price) -> str:
    amount = f"${price.low:g}" + (f" to ${price.high:g}" if price.high > price.low else "")
    return f"{amount} per GPU-hour at {price.provider}, as of {price.as_of_text}"


def format_hours(span: Span) -> str:
    """`1.2 h (0.9 to 1.8)`, in minutes or seconds where hours would be small."""
    for seconds, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if span.mid * 3600 >= seconds or unit == "s":
            return format_span(span.times(3600 / seconds), unit)
    raise AssertionError


def format_usd(span: Span) -> str:
    """`$12.40 (9.10 to 18.60)`."""
    return f"${span.mid:,.2f} ({span.low:,.2f} to {span.high:,.2f})"


def format_span(span: Span, unit: str) -> str:
    """`1.2 h (0.9 to 1.8)`."""
    return f"{_short(span.mid)} {unit} ({_short(span.low)} to {_short(span.high)})"


def _short(value: float) -> str:
    """Three significant digits, no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"


def format_count(number: float) -> str:
    """`8.03 B`, `134.5 M`."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.4g} {letter}"
    return f"{number:.0f}"


def seed_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """A plan of the guide's profile."""
    yield f"the guide's numbers for {plan['gpus']} x {plan['gpu']}"
    yield ""
    sizes = plan["per_gpu"]
    for name in (*COMPONENTS, "total", "capacity"):
        if sizes[name]:
            yield f"  {name.replace('_', ' '):{_NAME_WIDTH}}{format_bytes(sizes[name]):>12}"
    yield f"  {'fits' if plan['fits'] else 'DOES NOT FIT'}"
    for name, unit in (("hours", "h"), ("cost_usd", "USD")):
        span = plan[name]
        yield f"{name.partition('_')[0]}: {_short(span['low'])} to {_short(span['high'])} {unit}"
    for name in ("assumptions", "findings"):
        yield ""
        yield name
        yield from (f"  - {sentence}" for sentence in plan[name])

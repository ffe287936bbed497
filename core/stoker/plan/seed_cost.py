"""What the guide says of hours and dollars, asked whether it adds up."""

from __future__ import annotations

from stoker.plan.finding import Finding
from stoker.plan.guide import Bounds, Guide, Row
from stoker.plan.seed import row_cost_usd


def lora_row_against_its_prices(guide: Guide) -> Finding | None:
    """Is each row's cost hours x GPUs x price?"""
    wrong = {}
    for row in guide.rows:
        usd = row_cost_usd(row, guide)
        if not _close(usd, row.usd):
            wrong[row] = usd
    if not wrong:
        return None
    listed = ", ".join(
        f"{row.method} {row.size}: ${usd.low:.2f}-{usd.high:.2f}" for row, usd in wrong.items()
    )
    stated = ", ".join(f"${row.usd.low:g}-{row.usd.high:g}" for row in wrong)
    return Finding(
        name="row-against-prices",
        where="Cost Analysis, Training Time Estimates",
        kind="contradiction",
        says=f"A row of the estimates costs {stated}.",
        follows=f"Its hours x GPUs x prices are {listed}.",
        advice="The lower price belongs to the shorter time; stoker prints both ends.",
        numbers={f"{row.method}-{row.size}-low_usd": usd.low for row, usd in wrong.items()},
    )


def lora_and_full_rows(guide: Guide) -> Finding | None:
    """Are LoRA and full fine-tuning of 8B as far apart in GPU-hours as is said of their speed?"""
    full, lora = _row(guide, "full", "8b"), _row(guide, "lora", "8b")
    ratio = full.hours.middle * full.gpus / (lora.hours.middle * lora.gpus)
    if guide.lora_speedup.low <= ratio <= guide.lora_speedup.high:
        return None
    # Forward and both halves of backward, without and with recomputation; LoRA does without one half.
    by_flops = Bounds(4 / 3, 3 / 2)
    return Finding(
        name="lora-and-full-hours",
        where="Cost Analysis; When LoRA Is Still Better",
        kind="contradiction",
        says=f"LoRA is {guide.lora_speedup.low:g} to {guide.lora_speedup.high:g} times as fast, and its "
        "row has the same examples as that of full fine-tuning.",
        follows=f"The rows are {ratio:g} times apart in GPU-hours, so they assume other lengths; by "
        f"FLOPs it is {by_flops.low:.2f} to {by_flops.high:.2f}.",
        advice="Count tokens, not examples: stoker's hours are of tokens.",
        numbers={"ratio": ratio, "by_flops_low": by_flops.low, "by_flops_high": by_flops.high},
    )


def ladder_against_rows(guide: Guide) -> Finding | None:
    """Do the rungs of the cost-effective path cost what the estimates say?"""
    pairs = {
        method: (guide.ladder_usd[method], _row(guide, method, "8b").usd) for method in ("lora", "full")
    }
    if all(_close(rung, row) for rung, row in pairs.values()):
        return None
    listed = ", ".join(
        f"{method} ${rung.low:g}-{rung.high:g} and ${row.low:g}-{row.high:g}"
        for method, (rung, row) in pairs.items()
    )
    return Finding(
        name="ladder-against-rows",
        where="Cost Analysis",
        kind="contradiction",
        says="The path from QLoRA to full fine-tuning has a price at each rung, as do the estimates.",
        follows=f"For the same 8B they are {listed}; "
        f"its tips say up to ${guide.full_tip_usd:g} and more.",
        advice="`stoker advise` prices every rung for your tokens, GPU and price table.",
        numbers={
            f"{method}_{what}_low_usd": span.low
            for method, spans in pairs.items()
            for what, span in zip(("rung", "row"), spans, strict=True)
        },
    )


def _row(guide: Guide, method: str, size: str) -> Row:
    return next(row for row in guide.rows if (row.method, row.size) == (method, size))


def _close(one: Bounds, other: Bounds, tolerance: float = 0.03) -> bool:
    return all(abs(a - b) <= tolerance * b for a, b in zip(one, other, strict=True))

"""Advice in words, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from stoker.advice.advise import Advice
from stoker.advice.estimator import Estimate
from stoker.advice.ladder import Rung
from stoker.advice.reasons import Reason
from stoker.advice.search import Choice
from stoker.cli.report import WIDTH
from stoker.plan.time import Span

GB = 1e9
_PART = 15
_UNITS = ((1, "h"), (60, "min"), (3600, "s"))


def advice_text(advice: Advice) -> str:
    """Everything that `stoker advise` prints."""
    lines = [*_answer_lines(advice), ""]
    for reason in advice.reasons:
        lines += _reason_lines(reason)
    if advice.reasons:
        lines.append("")
    lines += _neighbour_lines(advice)
    lines += ["The ladder, each rung on the GPUs at hand or on the fewest that do:", *_table(advice)]
    lines += [*_mark_lines(advice), ""]
    lines += _rule_lines(advice)
    if advice.question.assumed:
        lines += _wrapped(f"Assumed: {'; '.join(advice.question.assumed)}.")
    return "\n".join(lines)


def _answer_lines(advice: Advice) -> Iterator[str]:
    rung, question = advice.rung, advice.question
    where = f"{question.gpus} x {question.gpu}"
    if advice.choice is not None and rung is not None:
        yield from _wrapped(f"{rung.name} on {where}: {_numbers(advice.choice.estimate)}.")
        if advice.choice.is_tight:
            yield "Tight: less than a twentieth of the memory is left."
        for note in advice.choice.estimate.notes:
            yield from _wrapped(note)
    elif advice.status == "over_limits" and rung is not None and rung.here is not None:
        yield from _wrapped(
            f"Nothing keeps to the limits on {where}. The cheapest that fits is {rung.name}: "
            f"{_numbers(rung.here.estimate)}."
        )
    elif rung is not None and rung.elsewhere is not None:
        yield from _wrapped(f"Nothing fits on {where}.")
        needed = rung.elsewhere
        yield from _wrapped(
            f"The smallest thing that would: {rung.name} on {_machines(needed)}: "
            f"{_numbers(needed.estimate)}."
        )
    else:
        yield from _wrapped(f"Nothing fits on {where}, nor on any number of GPUs that was tried.")


def _numbers(estimate: Estimate) -> str:
    parts = [
        f"{estimate.total_bytes / GB:.1f} of {estimate.capacity_bytes / GB:.1f} GB per GPU",
        _time(estimate.hours),
        _priced(estimate.usd, estimate.provider) if estimate.usd else "no price known",
    ]
    if estimate.spot_usd:
        parts.append(f"spot {_priced(estimate.spot_usd, estimate.spot_provider)}")
    if estimate.host_bytes >= GB:
        parts.append(f"{estimate.host_bytes / GB:.0f} GB of host memory per node")
    return ", ".join(parts)


def _priced(usd: Span, provider: str) -> str:
    return f"${_usd(usd)}" + (f" ({provider})" if provider else "")


def _time(hours: Span) -> str:
    """In the unit that suits."""
    per_hour, unit = next(each for each in _UNITS if hours.high * each[0] >= 1 or each is _UNITS[-1])
    return f"{_digits(hours.low * per_hour)}-{_digits(hours.high * per_hour)} {unit}"


def _digits(value: float) -> str:
    """Two digits that count."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _usd(usd: Span) -> str:
    return f"{_dollars(usd.low)}-{_dollars(usd.high)}"


def _dollars(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _machines(choice: Choice) -> str:
    candidate = choice.candidate
    nodes = f" on {candidate.nodes} nodes" if candidate.nodes > 1 else ""
    return f"{candidate.gpus} x {candidate.gpu}{nodes}"


def _reason_lines(reason: Reason) -> list[str]:
    return textwrap.wrap(
        f"{reason.value}: {reason.because}. [{reason.rule}]",
        WIDTH,
        initial_indent=reason.part.ljust(_PART),
        subsequent_indent=" " * _PART,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _neighbour_lines(advice: Advice) -> Iterator[str]:
    if advice.choice is None:
        return
    for what, choice, none in (
        ("Next cheaper", advice.cheaper, "nothing that was tried costs less; use less data"),
        ("Next better", advice.better, "nothing above it on the ladder"),
    ):
        said = _difference(advice.choice, choice) if choice else none
        yield from _wrapped(f"{what}: {said}.")
    yield ""


def _difference(own: Choice, other: Choice) -> str:
    """What the other would take, and how much more or less than that is."""
    said = f"{other.candidate.method} {other.candidate.model} on {_machines(other)}: "
    said += _numbers(other.estimate)
    if own.estimate.usd and other.estimate.usd:
        more = other.estimate.usd.mid - own.estimate.usd.mid
        said += f"; ${_dollars(abs(more))} {'more' if more > 0 else 'less'}"
    return said


def _table(advice: Advice) -> Iterator[str]:
    rows = [("", "rung", "GPUs", "GB each", "time", "USD"), *map(_row, advice.ladder)]
    chosen = advice.rung if advice.choice is not None else None
    rungs: list[Rung | None] = [None, *advice.ladder]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, rung in zip(rows, rungs, strict=True):
        mark = ">" if rung is not None and rung is chosen else " "
        cells = (cell.ljust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield f"{mark} {'  '.join(cells)}".rstrip()


def _row(rung: Rung) -> tuple[str, ...]:
    if rung.choice is None:
        return "", rung.name, "does not fit", "", "", ""
    candidate, estimate = rung.choice.candidate, rung.choice.estimate
    marks = ("" if rung.here else " *") + (" +" if _is_offloaded(rung) else "")
    return (
        "",
        rung.name,
        f"{candidate.gpus} x {candidate.gpu}{marks}",
        f"{estimate.total_bytes / GB:.1f}",
        _time(estimate.hours),
        _usd(estimate.usd) if estimate.usd else "-",
    )


def _is_offloaded(rung: Rung) -> bool:
    return rung.choice is not None and rung.choice.candidate.values.get("offload", "none") != "none"


def _mark_lines(advice: Advice) -> Iterator[str]:
    if any(rung.here is None and rung.elsewhere for rung in advice.ladder):
        yield "* does not fit on the GPUs at hand"
    hosts = [rung.choice for rung in advice.ladder if rung.choice and _is_offloaded(rung)]
    if hosts:
        most = max(choice.estimate.host_bytes for choice in hosts) / GB
        yield f"+ only with states in host memory, up to {most:.0f} GB per node: slow"


def _rule_lines(advice: Advice) -> Iterator[str]:
    yield "Rules of the tree; the first that holds decides:"
    for step in advice.decision.trace:
        mark = ">" if step.decides else " "
        answer = "yes" if step.holds else "no"
        yield f"{mark} {step.rule.name}: {step.rule.asks} {answer}"
    if overruled := advice.decision.overruled:
        names = " and ".join(rule.name for rule in overruled)
        yield from _wrapped(f"{advice.decision.rule.name} overrules {names}.")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )

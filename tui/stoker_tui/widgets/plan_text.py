"""A plan in words: time, money with its rate, neighbours, assumptions and findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content

from stoker_tui.models.neighbour_view import Neighbour
from stoker_tui.models.plan_view import PlanView
from stoker_tui.widgets.bars import verdict


def plan_lines(plan: PlanView) -> Iterator[Content]:
    """Machine, time and money."""
    yield Content.assemble((plan.machine, "bold"), f"  peak in the {plan.peak}")
    if plan.hours:
        yield Content.assemble((plan.hours, "bold"), f"  {plan.steps}")
        yield Content(plan.speed)
    else:
        yield Content.styled("time not known: the number of steps is not", "$text-muted")
    yield from money_lines(plan)
    for each in plan.elsewhere:
        yield Content.styled(each, "$text-muted")


def money_lines(plan: PlanView) -> Iterator[Content]:
    """The cost with its rate and where the rate is from."""
    if plan.cost:
        yield Content.styled(plan.cost, "bold")
        yield Content(plan.rate)
    else:
        yield Content.styled(plan.money, "$text-muted")
    if plan.source:
        yield Content.styled(plan.source, "$text-muted")
    if plan.spot:
        yield Content(f"spot {plan.spot}")


def neighbour_lines(
    plan: PlanView, neighbours: Sequence[Neighbour], *, is_stale: bool
) -> Iterator[Content]:
    """Those there are, one line each; dim while others are looked for."""
    for each in neighbours:
        kind, words = _neighbour(plan, each)
        text = Content.assemble((kind, "bold"), words)
        yield text.stylize("dim") if is_stale else text


def _neighbour(plan: PlanView, neighbour: Neighbour) -> tuple[str, str]:
    """`cheaper: ` and what is changed with what comes of it."""
    kind = neighbour.kind if plan.fits else f"fits, {neighbour.kind}"
    of = "" if plan.hours else f" for {neighbour.steps:,} steps"
    return f"{kind}: ", f"{neighbour.words}, {neighbour.amounts}{of}"


def sentences(title: str, found: Sequence[str]) -> Iterator[Content]:
    """A titled list; nothing where it is empty."""
    if found:
        yield Content("")
        yield Content.styled(title, "bold")
        yield from (Content(f"· {sentence}") for sentence in found)


def strip_lines(plan: PlanView, neighbours: Sequence[Neighbour]) -> tuple[Content, Content]:
    """The plan in two lines: memory, machine and time; then money and neighbours."""
    hours = plan.hours or "time not known"
    first = Content.assemble(
        verdict(plan), f"  {plan.machine}  ", (hours, "bold" if plan.hours else "$text-muted")
    )
    better = "  ".join("".join(_neighbour(plan, each)) for each in neighbours)
    second = Content.assemble((plan.money, "" if plan.cost else "$text-muted"), f"  {better}")
    return first, second

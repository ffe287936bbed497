"""What a run costs: hours times price times GPUs; on spot machines with the work that is done twice.

Interruptions come at random with a mean time between them. What is lost at each is the work since the
newest durable checkpoint, and the time until a new machine trains again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.checkpoint.interval import young_daly_seconds
from stoker.plan.prices import Price
from stoker.plan.time import Span, TimeEstimate

NOT_PRICED = "cost: machines only; disks, traffic and tax are not in it."

DISK_BANDWIDTH = 1e9
"""Bytes a second that a checkpoint is written with: a network disk of a cloud, an order of magnitude."""


@dataclass(frozen=True)
class Interruptions:
    """How often a machine is taken away and what a checkpoint and a new start take, in seconds."""

    mean_seconds: float
    """Between interruptions of one machine."""
    commit_seconds: float
    """From the copy to the durable checkpoint; meanwhile training goes on."""
    stall_seconds: float = 0.0
    """That training stands still for a checkpoint."""
    restart_seconds: float = 600.0
    """From an interruption to the first step on another machine, waiting for it included."""
    interval_seconds: float | None = None
    """Between checkpoints; None: `young_daly_seconds`."""


@dataclass(frozen=True)
class CostEstimate:
    """US dollars and hours."""

    on_demand_usd: Span | None
    """None: no price is known."""
    spot_usd: Span | None
    hours: Span
    """On a machine that stays, from its start to its end."""
    spot_hours: Span | None
    on_demand: Price | None
    spot: Price | None
    interval_seconds: float
    """Between checkpoints on a spot machine."""
    usd_per_million_tokens: float | None
    notes: tuple[str, ...] = ()


def expected_seconds(work_seconds: float, interruptions: Interruptions, machines: int = 1) -> float:
    """Expected time for `work_seconds` of training; one of `machines` taken away interrupts all.

    Daly's (2006) argument for exponential times between interruptions, with checkpoints that become
    durable C seconds after training went on: of an attempt the k-th interval is kept where nothing
    happens for R + k (tau + stall) + C seconds, so that an attempt, which lasts mu in the mean, keeps
    tau exp(-(R + C) / mu) / (exp((tau + stall) / mu) - 1). inf where no attempt gets anywhere.
    """
    mean = interruptions.mean_seconds / machines
    if not math.isfinite(mean):
        return work_seconds
    interval = interval_seconds(interruptions, machines)
    again = (interruptions.restart_seconds + interruptions.commit_seconds) / mean
    growth = (interval + interruptions.stall_seconds) / mean
    if again + growth > _HOPELESS:
        return math.inf
    return work_seconds * mean * math.exp(again) * math.expm1(growth) / interval


def interval_seconds(interruptions: Interruptions, machines: int = 1) -> float:
    """Between checkpoints, never less than one takes to become durable."""
    wanted = interruptions.interval_seconds or young_daly_seconds(
        interruptions.commit_seconds, interruptions.mean_seconds / machines
    )
    return max(wanted, interruptions.commit_seconds, _SHORTEST)


_SHORTEST = 1.0
_HOPELESS = 50.0
"""In mean times between interruptions: e to the 50 attempts."""


def commit_seconds(disk_bytes: float, keep: int) -> float:
    """How long a checkpoint takes to be durable, of `keep` and one more that take so much room."""
    return disk_bytes / (keep + 1) / DISK_BANDWIDTH


def estimate_cost(
    time: TimeEstimate,
    gpus: int,
    *,
    on_demand: Price | None,
    spot: Price | None = None,
    interruptions: Interruptions | None = None,
    machines: int = 1,
    provisioning_seconds: float = 0.0,
    tokens: float = 0.0,
) -> CostEstimate:
    """Dollars for a run of `time`. Spot costs need a spot price and `interruptions`.

    `provisioning_seconds` are paid once, before anything runs; `tokens` of the whole run give the price
    of a million.
    """
    hours = time.run_seconds.plus(provisioning_seconds).times(1 / 3600)
    on_demand_usd = _dollars(hours, on_demand, gpus)
    spot_hours = None
    if interruptions and spot:
        run = time.run_seconds
        spot_hours = Span(
            *(expected_seconds(each, interruptions, machines) for each in (run.low, run.mid, run.high))
        )
        spot_hours = spot_hours.plus(provisioning_seconds).times(1 / 3600)
    spot_usd = _dollars(spot_hours, spot, gpus) if spot_hours else None
    usual = on_demand_usd or spot_usd
    return CostEstimate(
        on_demand_usd=on_demand_usd,
        spot_usd=spot_usd,
        hours=hours,
        spot_hours=spot_hours,
        on_demand=on_demand,
        spot=spot,
        interval_seconds=interval_seconds(interruptions, machines) if interruptions else 0.0,
        usd_per_million_tokens=usual.mid / tokens * 1e6 if usual and tokens else None,
        notes=(NOT_PRICED,),
    )


def _dollars(hours: Span, price: Price | None, gpus: int) -> Span | None:
    if price is None:
        return None
    return Span(
        hours.low * price.low * gpus, hours.mid * price.mid * gpus, hours.high * price.high * gpus
    )

"""What an hour of a GPU costs: given, or from the price table by the GPU that is found here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.plan.gpus import find_gpu, recognise
from stoker.plan.prices import OLD_DAYS, find_price, load_prices
from stoker.recipe.problems import Fix, Problem, did_you_mean, nearest

if TYPE_CHECKING:
    from stoker_plugins.cost import CostConfig

TABLE = "plugins.cost"
_GIVE_ONE = f"Set {TABLE}.usd_per_gpu_hour."


def find_problems(config: CostConfig) -> Iterator[Problem]:
    """What is wrong with the options, without a look at this machine's GPUs."""
    given = config.usd_per_gpu_hour is not None
    if not given and config.provider is None:
        yield Problem(
            key=TABLE,
            message="no price is known: neither usd_per_gpu_hour nor provider is given.",
            hint=f"{_GIVE_ONE} Or name a provider of the price table: {TABLE}.provider.",
        )
    for option in ("provider", "gpu", "spot") if given else ():
        if getattr(config, option):
            yield Problem(
                key=f"{TABLE}.{option}",
                message="is for the price table, which is not asked: usd_per_gpu_hour is given.",
                hint="Leave one of the two out.",
                fix=Fix(action="unset", key=f"{TABLE}.{option}"),
            )
    if not given and config.provider is not None:
        yield from _table_problems(config)


def _table_problems(config: CostConfig) -> Iterator[Problem]:
    """A provider or a GPU that the table does not know, and a price that it does not have."""
    key = f"{TABLE}.gpu"
    try:
        gpu = None if config.gpu is None else find_gpu(config.gpu).name
        key = f"{TABLE}.provider"
        if gpu is not None:
            _look_up(config, gpu)
        elif config.provider not in (known := load_prices().providers):
            hint = did_you_mean(str(config.provider), known) or f"Known are {', '.join(known)}."
            near = nearest(str(config.provider), known)
            fix = Fix(action="set", key=key, value=near) if near else None
            message = f"no prices of {config.provider!r} are known."
            yield Problem(key=key, message=message, hint=hint, fix=fix)
    except UsageError as error:
        yield Problem(key=key, message=error.message, hint=error.hint)


def find_usd_per_gpu_hour(config: CostConfig) -> tuple[float, str]:
    """US dollars for one GPU and one hour, and where that is from.

    Raises `UsageError` where the table has no price for this machine's GPUs, or none are found.
    """
    if config.usd_per_gpu_hour is not None:
        return config.usd_per_gpu_hour, f"{TABLE}.usd_per_gpu_hour"
    return _look_up(config, _gpu_here() if config.gpu is None else find_gpu(config.gpu).name)


def _look_up(config: CostConfig, gpu: str) -> tuple[float, str]:
    """Of a range, its upper end: a budget is then kept whatever the machine really costs.

    Raises `UsageError` where the table has no such price.
    """
    price = find_price(gpu, config.provider, spot=config.spot, prices=load_prices())
    if price is None:
        kind = "spot price" if config.spot else "price"
        raise UsageError(f"no {kind} of {gpu} at {config.provider} is known.", hint=_GIVE_ONE)
    kind = "spot" if price.is_spot else "on demand"
    source = f"{gpu} at {price.provider}, {kind}, as of {price.as_of_text}"
    if price.age_days(date.today()) > OLD_DAYS:
        source += f", which is more than {OLD_DAYS} days ago"
    return price.high, source


def _gpu_here() -> str:
    """The type of this machine's GPUs. Raises `UsageError` where it cannot be told, or they differ."""
    from stoker.doctor.child import ask_probe

    answer = ask_probe("nvml")
    found: dict[str, Any] = answer.value or {"failure": answer.failure, "message": answer.failure}
    if found["failure"] or not found["gpus"]:
        reason = found.get("message") or "the driver knows no GPU"
        raise UsageError(
            f"{TABLE}: which GPU to look up cannot be told here: {reason}.",
            hint=f"{_GIVE_ONE} Or name the GPU: {TABLE}.gpu.",
        )
    names = {_recognised(gpu) for gpu in found["gpus"]}
    if len(names) > 1:
        raise UsageError(
            f"{TABLE}: this machine has GPUs of several types: {', '.join(sorted(names))}.",
            hint=f"{_GIVE_ONE} Or name the one that counts: {TABLE}.gpu.",
        )
    return names.pop()


def _recognised(gpu: dict[str, Any]) -> str:
    known = recognise(gpu["name"], gpu["memory_bytes"])
    if known is None:
        raise UsageError(f"{TABLE}: the price table knows no {gpu['name']!r}.", hint=_GIVE_ONE)
    return known.name

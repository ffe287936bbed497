"""What GPUs cost: a dated snapshot (`prices.toml`), and the user's own prices over it.

Prices are US dollars for one GPU and one hour. Nothing here asks the network.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli

from stoker.errors import UsageError
from stoker.plan.gpus import find_gpu
from stoker.recipe.problems import did_you_mean

OLD_DAYS = 30
"""List prices of one large vendor rose by a fifth within three months of 2026, a marketplace's by half
in a day: after a month a price is a guess."""
GUIDE = "guide"
"""Ranges from a text, not a vendor: found where it is asked for, or where nothing else is known."""

_KEYS = ("provider", "gpu", "on_demand", "spot", "as_of", "source", "note", "currency")
_TABLE_KEYS = ("prices", "sources", "currency")


@dataclass(frozen=True)
class Price:
    """What one GPU costs for an hour, in US dollars."""

    gpu: str
    provider: str
    low: float
    high: float
    is_spot: bool
    as_of: date
    """The first day that the source's date may mean."""
    as_of_text: str
    source: str
    note: str = ""
    is_own: bool = False
    """From a file of the user."""

    @property
    def mid(self) -> float:
        """The middle of the range; the price itself where it is one number."""
        return (self.low + self.high) / 2

    def age_days(self, today: date) -> int:
        """Days since `as_of`."""
        return (today - self.as_of).days

    def warning(self, today: date) -> str:
        """That the price is old, or an empty string."""
        if self.age_days(today) <= OLD_DAYS:
            return ""
        return (
            f"the price of {self.gpu} at {self.provider} is of {self.as_of_text}, more than {OLD_DAYS} "
            "days ago; give today's with --prices FILE."
        )


@dataclass(frozen=True)
class PriceTable:
    """All prices that are known, and what was wrong with those that are not used."""

    prices: tuple[Price, ...]
    warnings: tuple[str, ...] = ()

    @property
    def providers(self) -> tuple[str, ...]:
        """Names, in order of appearance."""
        return tuple(dict.fromkeys(price.provider for price in self.prices))


def own_prices_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the user's prices are looked for."""
    home = (
        environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".config"
    )
    return Path(home) / "stoker" / "prices.toml"


def load_prices(extra: Path | None = None, *, own: Path | None = None) -> PriceTable:
    """The snapshot, under the user's file (`own`, by default `own_prices_path()`), under `extra`.

    `extra` may be a table of this shape or the `vms.csv` of a SkyPilot catalog. Raises `UsageError` for
    a file that cannot be read, an unknown key, GPU or currency, and a price that is negative or not a
    number. A price of 0 or blank, and a spot price that is not below the on-demand price, are left out
    with a warning.
    """
    shipped = tomli.loads(files("stoker.plan").joinpath("prices.toml").read_text("utf-8"))
    found = {_key(price): price for price in _Reader("prices.toml", is_own=False).read(shipped)}
    warnings: list[str] = []
    for path in (own or own_prices_path(), extra):
        if path is not None and (path is extra or path.is_file()):
            prices, problems = _read_file(path)
            found |= {_key(price): price for price in prices}
            warnings += problems
    return PriceTable(tuple(found.values()), tuple(warnings))


def find_price(
    gpu: str, provider: str | None = None, *, spot: bool = False, prices: PriceTable
) -> Price | None:
    """The price of `gpu` at `provider`; None where none is known.

    Without a provider the user's own price, and where there is none the cheapest of the snapshot: of
    those whose day is known before others. Raises `UsageError` for a provider that has no row at all.
    """
    if provider is not None and provider not in prices.providers:
        raise UsageError(
            f"no prices of a provider {provider!r}. {did_you_mean(provider, prices.providers)}".rstrip(),
            hint=f"Known are {', '.join(prices.providers)}; --prices FILE adds others.",
        )
    fitting = [
        price
        for price in prices.prices
        if price.gpu == gpu and price.is_spot == spot and provider in (None, price.provider)
    ]
    return min(fitting, key=_preference, default=None)


def given_price(gpu: str, usd_per_gpu_hour: float, source: str) -> Price:
    """A price that someone states, of today. Raises `UsageError` for what is none."""
    if not _is_price(usd_per_gpu_hour):
        raise UsageError(f"{source}: {usd_per_gpu_hour:g} is no price.", hint="A price is more than 0.")
    today = date.today()
    return Price(
        gpu=gpu,
        provider="given",
        low=float(usd_per_gpu_hour),
        high=float(usd_per_gpu_hour),
        is_spot=False,
        as_of=today,
        as_of_text=today.isoformat(),
        source=source,
        is_own=True,
    )


def _preference(price: Price) -> tuple[bool, bool, bool, float]:
    is_undated = len(price.as_of_text) == len("2026")
    return not price.is_own, price.provider == GUIDE, is_undated, price.mid


def _key(price: Price) -> tuple[str, str, bool]:
    return price.gpu, price.provider, price.is_spot


def _read_file(path: Path) -> tuple[list[Price], list[str]]:
    if path.suffix == ".csv":
        from stoker.plan.price_catalog import read_catalog

        return read_catalog(path)
    try:
        table = tomli.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as prices: {error}.") from error
    reader = _Reader(str(path), is_own=True)
    return list(reader.read(table)), reader.warnings


class _Reader:
    """Turns rows of a table into prices and collects warnings."""

    def __init__(self, where: str, *, is_own: bool) -> None:
        self._where = where
        self._is_own = is_own
        self.warnings: list[str] = []

    def read(self, table: Mapping[str, Any]) -> Iterator[Price]:
        """The prices of all rows."""
        self._check_keys(table, _TABLE_KEYS, "the file")
        rows = table.get("prices", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UsageError(f"{self._where}: prices must be a list of tables, [[prices]].")
        for number, row in enumerate(rows, 1):
            yield from self._row(row, table, f"{self._where}: price {number}")

    def _row(self, row: Mapping[str, Any], table: Mapping[str, Any], where: str) -> Iterator[Price]:
        self._check_keys(row, _KEYS, where)
        currency = row.get("currency", table.get("currency", "USD"))
        if currency != "USD":
            raise UsageError(
                f"{where}: prices are in USD, not {currency!r}.", hint="Convert them first."
            )
        missing = [key for key in ("provider", "gpu", "as_of") if not row.get(key)]
        if missing:
            raise UsageError(f"{where}: {missing[0]} is missing.")
        gpu = find_gpu(str(row["gpu"])).name
        on_demand = self._range(row.get("on_demand"), f"{where}, on_demand")
        spot = self._range(row.get("spot"), f"{where}, spot")
        if spot and not (on_demand and spot[1] < on_demand[1]):
            than = f"{on_demand[1]} on demand" if on_demand else "an on-demand price, which is missing"
            self.warnings.append(
                f"{where}: a spot price of {spot[1]} is not below {than}; it is ignored."
            )
            spot = None
        for amounts, is_spot in ((on_demand, False), (spot, True)):
            if amounts:
                yield self._price(row, table, gpu, amounts, is_spot)

    def _price(
        self,
        row: Mapping[str, Any],
        table: Mapping[str, Any],
        gpu: str,
        amounts: tuple[float, float],
        is_spot: bool,
    ) -> Price:
        as_of, text = _date(row["as_of"], self._where)
        source = str(row.get("source", ""))
        return Price(
            gpu=gpu,
            provider=str(row["provider"]),
            low=amounts[0],
            high=amounts[1],
            is_spot=is_spot,
            as_of=as_of,
            as_of_text=text,
            source=table.get("sources", {}).get(source, source) or self._where,
            note=str(row.get("note", "")),
            is_own=self._is_own,
        )

    def _range(self, value: Any, where: str) -> tuple[float, float] | None:
        """A price, or a lowest and a highest; None for a blank and for zero."""
        if value is None:
            return None
        values = value if isinstance(value, list) else [value]
        if value == "" or any(each == 0 for each in values):
            self.warnings.append(f"{where}: a price of {value!r} is no price; it is ignored.")
            return None
        if not all(_is_price(each) for each in values) or len(values) not in (1, 2):
            raise UsageError(
                f"{where}: {value!r} is no price.",
                hint="Give dollars for one GPU and one hour, or a lowest and a highest: [1.5, 3.0].",
            )
        return float(min(values)), float(max(values))

    @staticmethod
    def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
        if unknown := next((key for key in table if key not in known), ""):
            raise UsageError(
                f"{where}: unknown key {unknown!r}. {did_you_mean(unknown, known)}".rstrip(),
                hint=f"Known are {', '.join(known)}.",
            )


def _is_price(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _date(value: Any, where: str) -> tuple[date, str]:
    """The first day that `value` may mean: a date, `"2026-10"` or `"2026"`."""
    text = str(value)
    if re.fullmatch(r"\d{4}(-\d\d){0,2}", text):
        try:
            return date.fromisoformat(
                f"{text}-01-01"[:10] if len(text) == 4 else f"{text}-01"[:10]
            ), text
        except ValueError:
            pass
    raise UsageError(f"{where}: {text!r} is no date.", hint='Write as_of = 2026-11-27, or "2026-11".')

"""Prices out of a catalog of SkyPilot (`catalogs/v8/<cloud>/vms.csv`), which has known defects.

Rows are instances: the price is divided by the number of GPUs, and the cheapest row of a type counts.
The memory it states is never believed further than to tell sizes of one name apart.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from stoker.errors import UsageError
from stoker.plan.gpus import known_gpus
from stoker.plan.prices import Price

_FORMS = ("nvl", "pcie")
_SIZE = re.compile(r"'?\"?SizeInMiB\"?'?: (\d+)")


def read_catalog(path: Path) -> tuple[list[Price], list[str]]:
    """Prices of all types that we know, and warnings. The folder names the provider, the file the date.

    Raises `UsageError` for a file that is no catalog.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as prices: {error}.") from error
    if not rows or not {"AcceleratorName", "AcceleratorCount", "Price"} <= rows[0].keys():
        raise UsageError(
            f"{path}: is no catalog of prices.",
            hint="Give a TOML file of prices, or the vms.csv of a SkyPilot catalog.",
        )
    cheapest: dict[tuple[str, bool], float] = {}
    warnings: dict[str, None] = {}
    for gpu, on_demand, spot in _offers(rows, warnings):
        amounts = {False: on_demand}
        if 0 < spot < on_demand:
            amounts[True] = spot
        elif spot:
            warnings[
                f"{path}: spot prices of {gpu} that are not below on-demand prices are ignored."
            ] = None
        for is_spot, amount in amounts.items():
            cheapest[gpu, is_spot] = min(amount, cheapest.get((gpu, is_spot), amount))
    prices = [
        Price(
            gpu=gpu,
            provider=path.parent.name,
            low=amount,
            high=amount,
            is_spot=is_spot,
            as_of=modified,
            as_of_text=modified.isoformat(),
            source=str(path),
            is_own=True,
        )
        for (gpu, is_spot), amount in cheapest.items()
    ]
    return prices, list(warnings)


def _offers(rows: list[dict[str, str]], warnings: dict[str, None]) -> Iterator[tuple[str, float, float]]:
    """GPU, on-demand and spot price for one GPU; a missing spot price is 0."""
    for row in rows:
        name = row["AcceleratorName"]
        gpu = _gpu(row)
        count = _number(row["AcceleratorCount"])
        price, spot = _number(row["Price"]), _number(row.get("SpotPrice", ""))
        if name and gpu and count:
            if price:
                yield gpu, price / count, spot / count
            else:
                warnings[f"{row['InstanceType']}: no on-demand price; the row is ignored."] = None
        elif name and any(known.startswith(f"{_plain(name)}-") for known in known_gpus()):
            warnings[f"{row['InstanceType']}: which {name} it has is not said; the row is ignored."] = (
                None
            )


def _gpu(row: Mapping[str, str]) -> str | None:
    """Our name of a row's GPU; of several sizes the one that the stated memory tells, else None."""
    plain = _plain(row["AcceleratorName"])
    about = f"{row['InstanceType']} {row.get('GpuInfo', '')}".lower()
    form = next((form for form in _FORMS if form in about), "")
    stem, _, size = plain.partition("-")
    if form and not re.search(form, plain):
        plain = "-".join(filter(None, (stem, form, size)))
    known = known_gpus()
    if plain in known:
        return plain
    sizes = [name for name in known if re.fullmatch(rf"{re.escape(plain)}-\d+gb", name)]
    if len(sizes) <= 1:
        return sizes[0] if sizes else None
    stated = _SIZE.search(row.get("GpuInfo", ""))
    gib = int(stated[1]) / 1024 if stated else 0.0
    if 0 < gib < 1:
        gib = int(stated[1]) if stated else 0.0  # some catalogs write GB under this name
    counts = (1.0, _number(row["AcceleratorCount"]) or 1.0)
    for name in sizes:
        nominal = float(re.findall(r"(\d+)gb", name)[0])
        if any(abs(gib / count - nominal) < 1 for count in counts):
            return name
    return None


def _plain(name: str) -> str:
    """`A100-80GB`, `RTX4090`, `RTXA6000` and `RTX-6000-Ada` in our spelling."""
    name = name.lower().removeprefix("rtxa").replace("tesla-", "")
    if re.fullmatch(r"\d{4}", name):
        name = f"a{name}"
    return re.sub(r"^rtx-?(\d{4})", r"rtx-\1", name)


def _number(text: str | None) -> float:
    """0 for what is no positive number."""
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if 0 < number < float("inf") else 0.0

"""What of the devices' arithmetic a run uses, from its `work` event and its speed. Torch-free.

MFU and HFU are shares of the data sheet's peak: defined in `stoker.train.work`, and in `DEFINITIONS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stoker.run.events import Event
from stoker.run.lines import clean
from stoker.run.numbers import number

DEFINITIONS: Final = (
    "MFU: FLOPs that forward and backward need, of the peak in the data sheet (Chowdhery et al. 2022)",
    "HFU: FLOPs that are executed, recomputed activations and padding included, of the same peak",
)
DATA_SHEET: Final = "data sheet"


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Of all devices together; FLOPs are floating-point operations of matrix products and attention."""

    device: str
    """`cpu`, or the driver's name for the GPU."""
    model_flops_per_second: float
    """That forward and backward need, without recomputation and padding."""
    hardware_flops_per_second: float
    """Executed."""
    peak_flops_per_second: float | None
    peak_source: str | None
    """Where the peak is known from: `data sheet`, `stoker calibrate`, or None."""
    mfu: float | None
    """None where there is no data sheet."""
    hfu: float | None

    def lines(self) -> Iterator[str]:
        """For people: percentages where a peak is known, and else why there are none."""
        model, hardware = _flops(self.model_flops_per_second), _flops(self.hardware_flops_per_second)
        peak = self.peak_flops_per_second
        if self.mfu is not None and self.hfu is not None and peak is not None:
            yield f"MFU {self.mfu:.1%}, HFU {self.hfu:.1%} of the {_flops(peak)} in the data sheet"
            yield from DEFINITIONS
            return
        yield f"{model} that forward and backward need, {hardware} executed"
        if peak:
            shares = [self.model_flops_per_second / peak, self.hardware_flops_per_second / peak]
            words = " and ".join(f"{share:.1%}" for share in shares)
            yield f"{words} of the {_flops(peak)} measured by stoker calibrate"
            yield "no MFU and HFU: these are shares of a GPU's data sheet, a processor has none"
        elif self.device == "cpu":
            yield (
                "no MFU and HFU: these are shares of a GPU's data sheet; what this processor can do "
                "`stoker calibrate` measures"
            )
        else:
            yield f"no MFU and HFU: no data sheet is known here of {clean(self.device)}"


def arithmetic_of(work: Event | None, tokens_per_second: float) -> Arithmetic | None:
    """None without a `work` event that can be read."""
    model, hardware = (
        number(work.get(f"{kind}_flops_per_token")) if work else None for kind in ("model", "hardware")
    )
    if work is None or model is None or hardware is None:
        return None
    peak, source = number(work.get("peak_flops_per_second")), work.get("peak_source")
    model, hardware = tokens_per_second * model, tokens_per_second * hardware
    has_sheet = peak is not None and peak > 0 and source == DATA_SHEET
    return Arithmetic(
        device=str(work.get("device", "")),
        model_flops_per_second=model,
        hardware_flops_per_second=hardware,
        peak_flops_per_second=peak,
        peak_source=source if isinstance(source, str) else None,
        mfu=model / peak if peak and has_sheet else None,
        hfu=hardware / peak if peak and has_sheet else None,
    )


def _flops(flops: float) -> str:
    """`312.0 TFLOP/s` or `38.2 GFLOP/s`."""
    return f"{flops / 1e12:,.1f} TFLOP/s" if flops >= 1e12 else f"{flops / 1e9:,.3g} GFLOP/s"

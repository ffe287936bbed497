"""Which part of a run the charts show: all of it, or a stretch that follows its end or stands still."""

from __future__ import annotations

from dataclasses import dataclass, replace

_LEAST = 1 / 4096


@dataclass(frozen=True)
class XRange:
    """A share of the whole range of x, and where it ends."""

    share: float = 1.0
    """How much of the whole is shown."""
    end: float | None = None
    """The greatest x shown; None follows the run."""

    def closer(self, extent: tuple[float, float] | None, centre: float | None = None) -> XRange:
        """Half as much, around `centre` where there is one."""
        half = replace(self, share=max(_LEAST, self.share / 2))
        if extent is None or centre is None:
            return half
        low, high = extent
        end = max(low, centre) + (high - low) * half.share / 2
        return replace(half, end=None if end >= high else end)

    def wider(self) -> XRange:
        """Twice as much."""
        return XRange() if self.share >= 0.5 else replace(self, share=self.share * 2)

    def moved(self, parts: float, extent: tuple[float, float] | None) -> XRange:
        """Later by so many widths of what is shown, within `extent`; at its end it follows again."""
        if extent is None or self.share >= 1:
            return self
        low, high = extent
        width = (high - low) * self.share
        end = max(low + width, (high if self.end is None else self.end) + parts * width)
        return replace(self, end=None if end >= high else end)

    def over(self, extent: tuple[float, float] | None) -> tuple[float, float] | None:
        """The range in x; None for all of it."""
        if extent is None or self.share >= 1:
            return None
        low, high = extent
        width = (high - low) * self.share
        end = high if self.end is None else max(low + width, min(high, self.end))
        return end - width, end

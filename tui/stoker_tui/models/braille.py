"""Characters made of dots: 2x4 to a braille character, 1x2 to an ASCII one; and samples for legends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LEFT = (0x40, 0x04, 0x02, 0x01)
_RIGHT = (0x80, 0x20, 0x10, 0x08)
"""Bits of a braille character's dots, from the lowest up."""

SAMPLES: Final = ("──", "··", "╌╌", "─·", "━ ", "╍ ")
"""Line patterns of the looks in a legend."""
ASCII_LOOKS: Final = ((".", "'", "*"), *(((each,) * 3) for each in "+ox#%"))
"""Characters of the looks for the lower half, the upper half and both."""
ASCII_SAMPLES: Final = ("*", "+", "o", "x", "#", "%")


@dataclass(frozen=True)
class Raster:
    """How many dots a character has."""

    columns: int
    rows: int


BRAILLE: Final = Raster(2, 4)
ASCII: Final = Raster(1, 2)


def braille(left: int, right: int) -> str:
    """The character with these dots in its columns, 4 bits each."""
    return _GLYPHS[left << 4 | right]


def _glyph(left: int, right: int) -> str:
    bits = sum(bit for at, bit in enumerate(_LEFT) if left >> at & 1)
    bits += sum(bit for at, bit in enumerate(_RIGHT) if right >> at & 1)
    return chr(0x2800 + bits)


_GLYPHS = [_glyph(both >> 4, both & 15) for both in range(256)]

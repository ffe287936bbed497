"""ASCII characters that stand for others, where a terminal or a font has no others."""

# ruff: noqa: RUF001 - characters that look like others are the matter here
from __future__ import annotations

from typing import Final


def _box_drawing() -> dict[str, str]:
    """U+2500 to U+257F: lines and corners."""
    horizontal = "─━┄┅┈┉╌╍═╴╶╸╺╼╾"
    vertical = "│┃┆┇┊┋╎╏║╵╷╹╻╽╿"
    known = dict.fromkeys(horizontal, "-") | dict.fromkeys(vertical, "|")
    return {chr(code): known.get(chr(code), "+") for code in range(0x2500, 0x2580)}


def _blocks() -> dict[str, str]:
    """U+2580 to U+259F: parts of a cell, by how much of it they fill."""
    light, empty = "▁▔▕░", "▂▎▏"
    return (
        {chr(code): "#" for code in range(0x2580, 0x25A0)}
        | dict.fromkeys(light, " ")
        | dict.fromkeys(empty, ".")
    )


def _braille() -> dict[str, str]:
    """U+2800 to U+28FF: dots, by how many there are."""
    steps = " .:*#"
    return {
        chr(0x2800 + dots): steps[min(len(steps) - 1, (dots.bit_count() + 1) // 2)]
        for dots in range(256)
    }


STAND_INS: Final[dict[str, str]] = {
    **_box_drawing(),
    **_blocks(),
    **_braille(),
    "\N{NO-BREAK SPACE}": " ",
    "●": "*",
    "○": "o",
    "◐": "~",
    "◉": "@",
    "✓": "+",
    "✔": "+",
    "✗": "x",
    "✘": "x",
    "⚠": "!",
    "■": "#",
    "□": "-",
    "▪": "#",
    "▫": "-",
    "◀": "<",
    "▶": ">",
    "▸": ">",
    "◂": "<",
    "▲": "^",
    "▼": "v",
    "▴": "^",
    "▾": "v",
    "◆": "*",
    "◇": "o",
    "←": "<",
    "→": ">",
    "↑": "^",
    "↓": "v",
    "↵": "<",
    "⏎": "<",
    "…": "~",
    "·": ".",
    "•": "*",
    "×": "x",
    "±": "~",
    "°": "'",
    "–": "-",
    "—": "-",
    "−": "-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "≤": "<",
    "≥": ">",
    "≈": "~",
    "∞": "8",
    "µ": "u",
    "μ": "u",
    "σ": "s",
    "Δ": "d",
    "∅": "0",
    "⌄": "v",
    "❯": ">",
    "‹": "<",
    "›": ">",
    "«": "<",
    "»": ">",
    "🔎": "/ ",
}
"""As wide as what they stand for."""

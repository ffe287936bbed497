"""Colours. Nowhere else are there any: widgets name theme variables.

`stoker-dark` and `stoker-light` take their hues from Okabe and Ito's palette, which people with any
kind of colour blindness can tell apart (https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="stoker-dark",
    primary="#56b4e9",
    secondary="#d689b2",
    accent="#f0e442",
    warning="#e69f00",
    error="#ff7a45",
    success="#2fc49a",
    foreground="#e4e6e8",
    background="#14171a",
    surface="#1b1f23",
    panel="#262b30",
    dark=True,
    variables={"block-cursor-text-style": "bold", "footer-key-foreground": "#56b4e9"},
)
LIGHT: Final = Theme(
    name="stoker-light",
    primary="#005f99",
    secondary="#8a3a6b",
    accent="#6b4700",
    warning="#7a4d00",
    error="#a33000",
    success="#005c44",
    foreground="#16191c",
    background="#fbfbf9",
    surface="#f2f2ef",
    panel="#e4e5e2",
    dark=False,
    variables={"block-cursor-text-style": "bold", "footer-key-foreground": "#005f99"},
)
OWN: Final = (DARK, LIGHT)
SIXTEEN_COLOURS: Final = "ansi-dark"
"""Textual's theme of the terminal's own 16 colours."""

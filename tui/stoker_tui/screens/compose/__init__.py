"""The screen Compose: a recipe as a form, with its plan beside it."""

from stoker_tui.screens.compose.screen import ComposeScreen

__all__ = ["ComposeScreen"]

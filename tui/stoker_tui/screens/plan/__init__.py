"""The screen Plan: what fits, ranked, to choose from."""

from stoker_tui.screens.plan.screen import PlanScreen

__all__ = ["PlanScreen"]

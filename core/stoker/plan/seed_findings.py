"""Where the guide's statements exclude each other, or leave out what decides, found by computing.

Every function asks one question of a `Guide` and answers with a `Finding`, or with None if that guide
is consistent there: mend the number, and the finding is gone.
"""

from __future__ import annotations

from collections.abc import Callable

from stoker.plan import seed_cost, seed_decision, seed_memory
from stoker.plan.finding import Finding
from stoker.plan.guide import GUIDE, Guide

QUESTIONS: tuple[Callable[[Guide], Finding | None], ...] = (
    seed_memory.when_needs_more_than_memory,
    seed_memory.two_gpu_counts_for_7b,
    seed_memory.one_gpu_or_none,
    seed_memory.gib_called_gb,
    seed_memory.room_for_activations_of_405b,
    seed_memory.zero_rows_are_states_only,
    seed_memory.no_master_weights,
    seed_memory.baseline_saves_too_much,
    seed_cost.lora_row_against_its_prices,
    seed_cost.lora_and_full_rows,
    seed_cost.ladder_against_rows,
    seed_decision.seventy_on_eight,
    seed_decision.cheat_sheet_that_does_not_fit,
    seed_decision.tree_against_cheat_sheet,
    seed_decision.gap_between_few_and_many,
)
"""In the order of the guide's sections."""


def findings(guide: Guide = GUIDE) -> list[Finding]:
    """All findings about a guide, in the order of its sections."""
    found = [question(guide) for question in QUESTIONS]
    return [finding for finding in found if finding is not None]

"""The plan that a run keeps: made when its first attempt begins, graded when one is over."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

from stoker.errors import StokerError, StorageError
from stoker.plan.grading import grade, read_plan
from stoker.recipe.lock import read_lock
from stoker.run.complaints import complain
from stoker.run.files import replace_file

if TYPE_CHECKING:
    from stoker.run.directory import RunDirectory


def grade_attempt(directory: RunDirectory, attempt: int) -> None:
    """Write beside the plan how the attempt compared with it. Raises `StorageError`."""
    try:
        plan = read_plan(directory)
        if plan is None or "problem" in plan:
            return
        made_for = plan.get("made_for", {})
        # By now the data are counted: what is remembered must not depend on whether they were before.
        again = _make(directory, made_for.get("ranks", 1), made_for.get("nodes", 1))
        grade(directory, attempt, plan, again)
    except StorageError:
        raise
    except Exception:
        # A mistake of ours in a grade is no reason to lose how the attempt ended.
        complain(traceback.format_exc())


def store_plan(directory: RunDirectory, *, ranks: int, nodes: int) -> None:
    """Write `plan.json` for the recipe as it is now, on `ranks` of all nodes; one for the same stays.

    What keeps a plan from being made is written in its place, and keeps no run from anything. Raises
    `StorageError`.
    """
    made_for = {"recipe_hash": directory.read_record().recipe_hash, "ranks": ranks, "nodes": nodes}
    known = read_plan(directory)
    if known is not None and known.get("made_for") == made_for:
        return
    plan = _make(directory, ranks, nodes)
    replace_file(directory.plan_path, json.dumps({**plan, "made_for": made_for}, indent=1) + "\n")


def _make(directory: RunDirectory, ranks: int, nodes: int) -> dict[str, Any]:
    from stoker.plan.plan import Target, make_plan
    from stoker.plan.prices import load_prices
    from stoker.plan.shape import plan_as_dict
    from stoker.plan.this_machine import this_gpu

    try:
        recipe = read_lock(directory.lock_path, allow_unset=True)
        target = Target(this_gpu(), ranks, nodes, prices=load_prices()).at_recipes_price(recipe)
        return plan_as_dict(make_plan(recipe, target))
    except StokerError as error:
        return {"v": 1, "problem": str(error)}
    except Exception as error:
        # A mistake of ours in a forecast is no reason not to train.
        complain(traceback.format_exc())
        return {"v": 1, "problem": f"{type(error).__name__}: {error}"}

"""A rank that measures one setting after the other, see `stoker.plan.measuring_ranks`.

Requests come line by line on standard input and answers go to standard output, both as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from stoker.errors import StokerError
from stoker.plan.measured import Setting
from stoker.recipe.lock import read_lock
from stoker.train.distributed import disconnect, open_store, place_from_environment, publish
from stoker.train.garbage import exit_without_collecting
from stoker.train.measuring.measure import measure


def main() -> None:
    """Measure until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    place = place_from_environment()
    publish(place)
    store = open_store(place)
    for line in sys.stdin:
        answers.write(f"{json.dumps(_answer(json.loads(line), store))}\n")
        answers.flush()
        # Models hang in cycles of hooks and modules.
        gc.collect()
    disconnect()


def _answer(request: dict[str, Any], store: object) -> dict[str, Any]:
    try:
        recipe = read_lock(Path(request["lock"]))
        measured = measure(recipe, Setting.from_json(request["setting"]), store=store)
    except StokerError as error:
        return {"error": error.message, "hint": error.hint, "exit_code": int(error.exit_code)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    return {"measured": measured.to_json()}


if __name__ == "__main__":
    main()
    exit_without_collecting()

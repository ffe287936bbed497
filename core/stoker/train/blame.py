"""Names what a step that was not finite had been made of: ranks and rows.

The plan of a step is a pure function, so nothing is noted while all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from stoker.errors import NonFiniteError
from stoker.run.watching import handle

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.state import State

_SHOWN_ROWS = 16


def report_non_finite(state: State, step: int, ranks: Sequence[int]) -> NonFiniteError:
    """The error of a step that was stopped; its rows go into an `alert` event, all of them.

    `ranks`: those whose loss was not finite; none where only the gradient was not. Then every row of
    the step is named. The same on all ranks.
    """
    run = state.run
    # The steps after it were no-ops, too.
    run.step = step - 1
    suspects = ranks or range(run.world_size)
    rows = {rank: _rows_of(state, step, rank) for rank in suspects}
    culprit = _culprit(step, ranks)
    if run.is_main:
        groups = [group for rank, own in rows.items() for group in _groups(run, rank, own)]
        message = f"{culprit}; this event in events.jsonl holds its rows"
        run.events.write("alert", message=message, step=step, loss_ranks=list(ranks), rows=groups)
    shown = _shown(run, [row for own in rows.values() for row in own])
    return NonFiniteError(
        f"{culprit}. It had {shown}. Neither this step nor anything after it was applied.",
        hint=_hint(state),
        step=step,
    )


def _culprit(step: int, ranks: Sequence[int]) -> str:
    if not ranks:
        return f"the gradient of step {step} was not finite, though its loss was on every rank"
    word = "rank" if len(ranks) == 1 else "ranks"
    return f"the loss of step {step} was not finite on {word} {_listed(ranks)}"


def _hint(state: State) -> str:
    run = state.run
    name = handle(run.directory)
    if state.engine.regime.scales_loss:
        # Single steps that overflow are passed over; so many in a row are no matter of one batch.
        return "Lower train.learning_rate, or use another train.precision."
    return (
        f"Go on without that batch: stoker resume {name} --skip-batches 1. Or lower the learning rate, "
        "with --set and --allow-change train.learning_rate."
    )


def _rows_of(state: State, step: int, rank: int) -> list[int]:
    """Rows of the index in a rank's micro-batches, in their order."""
    return [row for rows in state.plan(step, rank).micro_batches for row in rows]


def _groups(run: Run, rank: int, rows: Iterable[int]) -> list[dict[str, Any]]:
    """A rank's rows by source: as the index numbers them, and counted within their source."""
    sources, sizes = run.index.sources, run.index.source_sizes
    groups = []
    for source, members in groupby(sorted(rows), key=lambda row: int(sources[row])):
        own, first = list(members), sum(sizes[:source])
        groups.append(
            {
                "rank": rank,
                "source": f"data.train.{source}",
                "index_rows": own,
                "source_rows": [row - first for row in own],
            }
        )
    return groups


def _shown(run: Run, rows: Sequence[int]) -> str:
    """`rows 5, 12 of data.train.0 (rows.jsonl)`: the first few, and how many more there are."""
    parts = [
        f"rows {_listed(group['source_rows'])} of {group['source']} ({_path(run, group['source'])})"
        for group in _groups(run, 0, rows[:_SHOWN_ROWS])
    ]
    more = len(rows) - _SHOWN_ROWS
    parts += [f"{more} more, which the alert in events.jsonl lists"] if more > 0 else []
    return f"{' and '.join(parts)}, counted from 0 as prepared"


def _path(run: Run, source: str) -> str:
    number = int(source.rpartition(".")[2])
    # An order of a plugin's own may have made its index of something else than the recipe's list.
    listed = run.recipe.data.train
    return listed[number].path if number < len(listed) else "unknown"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))

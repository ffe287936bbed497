"""How ranks ended, from their outcome files and, for those that could not write one, their processes."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence

from stoker.errors import ExitCode
from stoker.run.outcome import RankError, RankOutcome
from stoker.run.ranks import RankProcess


def gather_outcomes(
    written: Iterable[RankOutcome], processes: Sequence[RankProcess]
) -> list[RankOutcome]:
    """One outcome for each rank, those of other nodes included as far as they wrote one.

    Ranks that we killed have none: their end says nothing about the cause.
    """
    outcomes = {outcome.rank: outcome for outcome in written}
    for process in processes:
        if process.rank not in outcomes and not process.killed_by_us:
            outcomes[process.rank] = outcome_of(process)
    return [outcomes[rank] for rank in sorted(outcomes)]


def were_cut_short(outcomes: Sequence[RankOutcome], processes: Sequence[RankProcess]) -> bool:
    """Whether we killed a rank before it could say how it ended."""
    told = {outcome.rank for outcome in outcomes}
    return any(process.killed_by_us and process.rank not in told for process in processes)


def outcome_of(process: RankProcess) -> RankOutcome:
    """The outcome of a rank that wrote none."""
    code = process.exit_code
    assert code is not None, "the rank has ended"
    if process.left:
        return RankOutcome(rank=process.rank, exit_code=int(ExitCode.STOPPED), time=process.ended)
    if code >= 0:
        message = f"rank {process.rank} ended with exit code {code} without saying why."
        return RankOutcome(
            rank=process.rank,
            exit_code=code or int(ExitCode.FAILED),
            time=process.ended,
            error=RankError(message=message),
        )
    return RankOutcome(
        rank=process.rank,
        exit_code=int(ExitCode.FAILED),
        # Other ranks fail within moments of a kill, perhaps before we look, and would be blamed.
        time=process.last_seen if code == -signal.SIGKILL else process.ended,
        error=_killed(process.rank, -code),
    )


def _killed(rank: int, number: int) -> RankError:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return RankError(
            message=f"rank {rank} was killed ({name}).",
            hint="Often the machine ran out of memory: see dmesg; lower train.micro_batch_size.",
        )
    return RankError(message=f"rank {rank} was ended by {name}.", hint="The end of its log may say why.")

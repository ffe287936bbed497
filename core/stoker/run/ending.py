"""How ranks ended, from their outcome files and, for those that could not write one, their processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Sequence

from stoker.errors import ExitCode
from stoker.run.host import boot_id
from stoker.run.outcome import RankError, RankOutcome, first_failure
from stoker.run.ranks import RankProcess
from stoker.run.watchdog import Hang


def gather_outcomes(
    written: Iterable[RankOutcome], processes: Sequence[RankProcess], hang: Hang | None = None
) -> list[RankOutcome]:
    """One outcome for each rank, those of other nodes included as far as they wrote one.

    Ranks that we killed have none, but for the one that hung: their end says nothing about the cause.
    """
    outcomes = {outcome.rank: outcome for outcome in written}
    for process in processes:
        if process.rank not in outcomes and not process.killed_by_us:
            outcomes[process.rank] = outcome_of(process)
    if hang is not None:
        outcomes.setdefault(hang.rank, hang.outcome())
    return [outcomes[rank] for rank in sorted(outcomes)]


def were_cut_short(outcomes: Sequence[RankOutcome], processes: Sequence[RankProcess]) -> bool:
    """Whether a rank left, or was killed by us, without a save and before anything failed.

    Ranks that are left alone by others fail, which is then no failure of the run.
    """
    told = {outcome.rank for outcome in outcomes}
    failure = first_failure(outcomes)
    left = [each.last_seen for each in processes if each.exit_code == ExitCode.LEFT]
    if left:
        return failure is None or failure.boot_id != boot_id() or min(left) <= failure.uptime
    killed = any(process.killed_by_us and process.rank not in told for process in processes)
    return killed and failure is None


def outcome_of(process: RankProcess) -> RankOutcome:
    """The outcome of a rank that wrote none."""
    code = process.exit_code
    assert code is not None, "the rank has ended"
    if process.left:
        left = ExitCode.LEFT if code == ExitCode.LEFT else ExitCode.STOPPED
        return _outcome(process.rank, left, process.ended)
    if code >= 0:
        full = "Is there room on the disk that holds the run directory?"
        error = RankError(
            message=f"rank {process.rank} ended with exit code {code} without saying why.",
            hint=full if code == ExitCode.STORAGE else "",
        )
        return _outcome(process.rank, code or ExitCode.FAILED, process.ended, error)
    # Other ranks fail within moments of a kill, perhaps before we look, and would be blamed.
    moment = process.last_seen if code == -signal.SIGKILL else process.ended
    return _outcome(process.rank, ExitCode.FAILED, moment, _killed(process.rank, -code))


def _outcome(rank: int, code: int, moment: float, error: RankError | None = None) -> RankOutcome:
    """`moment` in seconds of the monotonic clock."""
    ago = time.monotonic() - moment
    return RankOutcome(
        rank=rank,
        exit_code=int(code),
        time=time.time() - ago,
        error=error,
        uptime=moment,
        boot_id=boot_id(),
    )


def _killed(rank: int, number: int) -> RankError:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return RankError(
            message=f"rank {rank} was killed ({name}).",
            hint=(
                "Often the machine ran out of memory: see dmesg. `stoker plan` says what a rank needs "
                'and what fits; train.micro_batch_size = "auto" finds the most rows that do.'
            ),
        )
    return RankError(message=f"rank {rank} was ended by {name}.", hint="The end of its log may say why.")

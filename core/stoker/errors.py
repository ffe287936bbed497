"""Errors a user can act on, and the exit codes they end in.

Two kinds of failure exist. A `StokerError` is something the user can mend: the command line prints
it as one short paragraph and exits with its code. Anything else is a bug and shows a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from stoker.recipe.problems import Problem


class ExitCode(IntEnum):
    """What `stoker run` ends with. Public API: schedulers and CI act on these numbers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """Wrong usage or a wrong recipe; nothing was started."""
    DOES_NOT_FIT = 3
    OVER_BUDGET = 4
    """The budget is spent; weights were saved first."""
    ENVIRONMENT = 5
    """A missing extra, driver or hardware feature."""
    NON_FINITE = 71
    """Loss or gradients stopped being finite; nothing bad was applied or saved."""
    STORAGE = 73
    STOPPED = 75
    """Preempted or stopped, saved, resumable: run the same command again."""
    LEFT = 76
    """Left without a new save; an older checkpoint may exist."""


class StokerError(Exception):
    """A failure the user can act on. `hint` says what to do, in one sentence."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(StokerError):
    """The command line asks for something that cannot be: an unknown run, a name already taken."""

    exit_code = ExitCode.USAGE


class RecipeError(StokerError):
    """A recipe with at least one problem; `problems` holds all of them, not only the first."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems = list(problems)


class PluginError(StokerError):
    """A plugin that cannot be imported, configured or combined as the recipe asks."""

    exit_code = ExitCode.USAGE


class MissingRequirementError(StokerError):
    """This machine lacks something the recipe needs: an extra, a device, a dtype."""

    exit_code = ExitCode.ENVIRONMENT


class DoesNotFitError(StokerError):
    """A rank needs more memory than there is; the hint names what fits instead."""

    exit_code = ExitCode.DOES_NOT_FIT


class OverBudgetError(StokerError):
    """The run has used up what it may spend; what was trained has been saved."""

    exit_code = ExitCode.OVER_BUDGET


class NonFiniteError(StokerError):
    """Loss or gradients became NaN or infinite."""

    exit_code = ExitCode.NON_FINITE

    def __init__(self, message: str, *, hint: str = "", step: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.step = step
        """The step that was stopped before it was applied; None where no step was to blame."""


class StorageError(StokerError):
    """Disk full, read-only or broken."""

    exit_code = ExitCode.STORAGE


class Interrupted(StokerError):
    """A stop was asked for; everything worth saving has been saved."""

    exit_code = ExitCode.STOPPED

    def __init__(self, message: str, *, preempted: bool = False) -> None:
        """`preempted`: the machine is about to be taken away; else someone asked."""
        super().__init__(message)
        self.preempted = preempted

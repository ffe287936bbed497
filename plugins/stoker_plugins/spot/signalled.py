"""Providers whose notice is a signal: SIGTERM, some time before SIGKILL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stoker.run.notices import Notice

if TYPE_CHECKING:
    from stoker.train.signals import SignalFlags

_NAMES: Final = {"slurm": "Slurm", "kubernetes": "Kubernetes", "runpod": "RunPod"}


def signal_notice(provider: str, signals: SignalFlags, grace_seconds: float) -> Notice | None:
    """The notice that a SIGTERM stands for. SIGINT and SIGHUP are somebody's wish, and none."""
    if signals.stop != "SIGTERM":
        return None
    return Notice(
        provider=provider,
        reason=f"{_NAMES[provider]} ends this job (SIGTERM)",
        deadline=signals.stopped_at + grace_seconds,
    )

"""Events as single lines for people. Text from models, data and plugins is made harmless first."""

from __future__ import annotations

import math
from collections.abc import Callable

from stoker.run.events import Event

_ETA_MEMORY = 0.8


def clean(text: str) -> str:
    """Without control characters: text in a log must not steer the reader's terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "?" for character in text
    )


def format_seconds(seconds: float) -> str:
    """`4 s`, `2:05`, `1:02:05`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_bytes(size: float) -> str:
    """`12.3 MB`, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def format_usd(usd: float) -> str:
    """`$1,234.50`, `$0.0012`: cents, and two digits that count of what is less."""
    decimals = 2 if usd <= 0 else max(2, 1 - math.floor(math.log10(usd)))
    return f"${usd:,.{decimals}f}"


def format_number(value: float | None, spec: str = ".4f") -> str:
    """A number as `spec` says; `not finite` for null, which is how such values are stored."""
    return "not finite" if value is None else format(value, spec)


class StepClock:
    """Estimates how long the remaining steps take, from the seconds of the latest ones."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def note(self, step: Event) -> None:
        """A step was done."""
        seconds = step.get("step_seconds")
        if seconds is not None:
            known = self._seconds
            self._seconds = (
                seconds if known is None else _ETA_MEMORY * known + (1 - _ETA_MEMORY) * seconds
            )

    def remaining(self, step: Event) -> float | None:
        """Seconds until the last step is done, evaluations and saves left out; None if not known."""
        total = step.get("total_steps")
        if self._seconds is None or not total:
            return None
        return float(max(0, total - step["step"]) * self._seconds)


def step_line(step: Event, remaining_seconds: float | None = None, cost: Event | None = None) -> str:
    """`step 10/30  loss 2.3456  lr 1.00e-04  1,234 tokens/s  ETA 2:10  $0.12 of about $0.40`.

    `cost` is the latest event of that kind.
    """
    total = step.get("total_steps")
    parts = [f"step {step['step']}/{total}" if total else f"step {step['step']}"]
    parts.append(f"loss {format_number(step.get('loss'))}")
    if "learning_rate" in step:
        parts.append(f"lr {format_number(step['learning_rate'], '.2e')}")
    if step.get("grad_norm") is not None:
        parts.append(f"grad {step['grad_norm']:.3g}")
    if "tokens_per_second" in step:
        parts.append(f"{format_number(step['tokens_per_second'], ',.0f')} tokens/s")
    if remaining_seconds is not None:
        parts.append(f"ETA {format_seconds(remaining_seconds)}")
    if cost is not None:
        parts.append(cost_words(cost))
    return "  ".join(parts)


def cost_words(cost: Event) -> str:
    """`$0.12 of about $0.40 (cap $2.00)`: spent, what the whole run is going to cost, the budget; the
    latter two where they are known."""
    words, total, cap = (
        format_usd(cost.get("usd", 0.0)),
        cost.get("projected_usd"),
        cost.get("budget_usd"),
    )
    if total is not None:
        words += f" of about {format_usd(total)}"
    return words if cap is None else f"{words} (cap {format_usd(cap)})"


def progress_line(progress: Event, remaining_seconds: float | None = None) -> str:
    """`tokenising 120/2,000 rows  ETA 20 s`; without a total while that is not known."""
    done, total, unit = progress.get("done", 0), progress.get("total", 0), progress.get("unit", "")
    count = f"{done:,}/{total:,}" if total else f"{done:,}"
    line = f"{clean(str(progress.get('phase', 'working')))} {count} {unit}".rstrip()
    if remaining_seconds is None or done >= total:
        return line
    return f"{line}  ETA {format_seconds(remaining_seconds)}"


def describe(event: Event) -> str | None:
    """A line for any event but `step`, `progress` and `cost`; None for what nobody needs to read."""
    line = _DESCRIBERS.get(event["kind"], _message)(event)
    return None if line is None else clean(line)


def _state(event: Event) -> str | None:
    # How a run ended is said by the summary.
    return event["state"] if event.get("state") in ("preparing", "running") else None


def _evaluate(event: Event) -> str:
    line = f"evaluate at step {event.get('step')}: loss {format_number(event.get('eval_loss'))}"
    if event.get("best_step") == event.get("step"):
        return f"{line}, the best so far"
    return f"{line}, best {format_number(event.get('best_eval_loss'))} at step {event.get('best_step')}"


def _checkpoint(event: Event) -> str | None:
    name = event.get("name", f"of step {event.get('step')}")
    if event.get("phase") == "committed":
        size, seconds = format_bytes(event.get("bytes", 0)), event.get("seconds", 0.0)
        return f"checkpoint {name} saved: {size} in {seconds:.1f} s"
    if event.get("phase") == "failed":
        return f"checkpoint {name} failed: {event.get('message', 'no reason given')}"
    return None


def _resume(event: Event) -> str:
    passed_over = "".join(f"; passed over: {reason}" for reason in event.get("passed_over", []))
    return f"goes on from {event.get('checkpoint')}{passed_over}"


def _message(event: Event) -> str | None:
    message = event.get("message")
    if message is None:
        return None
    return message if event["kind"] == "note" else f"{event['kind']}: {message}"


_DESCRIBERS: dict[str, Callable[[Event], str | None]] = {
    "state": _state,
    "evaluate": _evaluate,
    "checkpoint": _checkpoint,
    "resume": _resume,
}

"""How the run in front is doing, in one line."""

from __future__ import annotations

from stoker.errors import StokerError
from stoker.run.latest import read_latest
from stoker.run.lines import clean
from stoker_tui.models.chart_ticks import figure
from stoker_tui.models.commands import run_names
from stoker_tui.models.glossary import sign_of
from stoker_tui.models.session import Session


def summary(session: Session) -> str:
    """`● run qwen8b-sft step 2040/5974 loss 1.412`; how many runs there are, where none is in front."""
    if session.run is None:
        count = len(run_names(session.folder))
        return f"{count} run{'' if count == 1 else 's'}"
    try:
        record = session.run.read_record()
        sign = sign_of(session.run.effective_state(record))
    except (StokerError, OSError):
        return f"{clean(session.run.name)}: cannot be read"
    latest = read_latest(session.run.events_path)
    steps = f"step {max(record.step, latest.step or 0)}/{record.total_steps or '?'}"
    loss = "" if latest.loss is None else f" loss {figure(latest.loss)}"
    return f"{sign} {clean(record.name)} {steps}{loss}"

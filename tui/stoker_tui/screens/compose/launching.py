"""From the form to a run: save, ask for ranks, show plan and command, start it after a yes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import BindingType

from stoker.errors import StokerError
from stoker.run.directory import RunDirectory
from stoker_tui.keys import bind
from stoker_tui.models.actions import Done, twin
from stoker_tui.models.compose.bench import Superseded
from stoker_tui.models.open_recipe import OpenRecipe
from stoker_tui.models.plan_view import plan_view, why_unplanned
from stoker_tui.screens.asking import AskScreen
from stoker_tui.screens.compose.saving import Saving
from stoker_tui.screens.confirm import ConfirmScreen
from stoker_tui.screens.told import ToldScreen

_RUNS_IN = re.compile(r"^\S+ runs in (?P<path>.+)$", re.MULTILINE)


class Launching(Saving):
    """The key that starts what costs money: nothing happens before a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "L", "launch", "Launch", "Save, show the plan, and start the run after a yes.",
            id="compose.launch", twin="stoker run RECIPE --detach --nproc N", changes=True,
        ),
    ]  # fmt: skip

    def action_launch(self) -> None:
        """Save, then ask on how many ranks."""
        recipe = self.recipe
        if recipe is None:
            return
        if recipe.num_errors:
            self.enter_pane("problems")
            words = "`stoker run` would refuse this recipe: f fixes a problem, enter goes there."
            self.notify(words, severity="error", timeout=3, markup=False)
            return
        self.save_then(self._ask_ranks)

    def _ask_ranks(self) -> None:
        recipe = self.recipe
        if recipe is None:
            return
        stated = recipe.document.stated("launch.gpus_per_node").value
        ranks = stated if isinstance(stated, int) else 1

        def take(answer: str | None) -> None:
            if answer is not None:
                self._plan_for(recipe, int(answer))

        note = "One rank for each GPU; on a machine without, one for some cores."
        ask = AskScreen(
            "Ranks on this node (--nproc)", value=str(ranks), note=note, refuse=_refuse_ranks
        )
        self.app.push_screen(ask, take)

    def _plan_for(self, recipe: OpenRecipe, ranks: int) -> None:
        """Ask for the plan on so many ranks, then for a yes."""
        document, bench = recipe.document, self.session.bench
        nodes = document.stated("launch.nodes").value
        gpus = ranks * (nodes if isinstance(nodes, int) else 1)
        options = {**recipe.machine.options, "gpus": gpus}

        def work() -> None:
            try:
                answer = bench.plan(document.text, document.path, document.overrides, **options)
                lines = list(_plan_lines(answer))
            except Superseded:
                # By the plan of the form; nobody types now.
                self.app.call_from_thread(self._plan_for, recipe, ranks)
                return
            except StokerError as error:
                lines = [f"no plan: {error}"]
            self.app.call_from_thread(self._confirm, recipe, ranks, lines)

        self.in_thread(work, "launch")

    def _confirm(self, recipe: OpenRecipe, ranks: int, lines: list[str]) -> None:
        path = recipe.document.path
        if path is None:
            return
        options = ("--nproc", str(ranks))
        command = twin(self.session.actions.launching(path, *options))

        def answered(yes: bool | None) -> None:
            if yes:
                actions = self.session.actions
                self.act(lambda: actions.launch(path, *options), lambda done: self._launched(done))

        self.app.push_screen(ConfirmScreen(f"Start {path}?", lines, command=command), answered)

    def _launched(self, done: Done) -> None:
        """To the run, or all that `stoker run` had to say."""
        if not done.ok:
            text = f"{done.errors}\n{done.output}".strip()
            self.app.clear_notifications()  # the same, cut short
            self.app.push_screen(ToldScreen(f"{done.command}: exit code {done.exit_code}", text))
            return
        run = _started(done.output)
        if run is not None:
            self.session.run = run
            self.session.settings.remember("session", run=run.name)
            self.cockpit.action_go("watch")


def _plan_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """What the run needs, takes and costs."""
    if answer["plan"] is None:
        yield why_unplanned(answer)
        return
    plan = plan_view(answer["plan"])
    yield plan.situation
    yield f"{plan.verdict}: {plan.memory} on {plan.machine}"
    yield f"time: {plan.hours}, {plan.steps}" if plan.hours else "time: not known"
    yield f"cost: {plan.money}"


def _started(output: str) -> RunDirectory | None:
    """The run that `stoker run --detach` says it started."""
    found = _RUNS_IN.search(output)
    return RunDirectory(Path(found["path"])) if found else None


def _refuse_ranks(text: str) -> str:
    is_number = text.strip().isdecimal() and int(text) >= 1
    return "" if is_number else "A number of at least 1."

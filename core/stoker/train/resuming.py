"""Going on from a checkpoint: which one, whether it fits this run, and the state it leaves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from torch import nn

from stoker.checkpoint.finding import Checkpoint, list_checkpoints, set_aside, survey
from stoker.checkpoint.manifest import require_whole
from stoker.errors import StorageError, UsageError
from stoker.train.distributed import all_agree, from_first_rank

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.state import State

_SHOWN = 3


def choose_checkpoint(run: Run) -> tuple[Checkpoint | None, list[str]]:
    """The newest valid checkpoint, the same on every rank, and why newer ones were passed over.

    Collective: the ranks divide the reading between them. Raises `StorageError` where there are
    checkpoints and none is valid: to begin anew is for the user to say.
    """
    run_id = run.directory.read_record().id
    folder = run.directory.checkpoints_path
    listed = json.dumps([found.name for found in survey(folder)]) if run.is_main else ""
    candidates = json.loads(from_first_rank(listed))
    known = {found.name: found for found in survey(folder, run_id)}
    passed_over: list[str] = []
    for name in candidates:
        found = known.get(name)
        problem = f"{folder / name} is not seen by every rank." if found is None else found.problem
        if found is not None and not problem:
            problem = _damage(found.checkpoint, run)
        if all_agree(not problem):
            assert found is not None
            return found.checkpoint, passed_over
        passed_over.append(from_first_rank(problem) or problem or f"{name} is damaged.")
    if passed_over:
        raise StorageError(
            f"no checkpoint of {run.directory.name!r} is valid: {' '.join(passed_over)}",
            hint=f"Look with: stoker verify {run.directory.name}. A new run: stoker run --fresh.",
        )
    return None, []


def _damage(checkpoint: Checkpoint, run: Run) -> str:
    def alive() -> None:
        run.heartbeat.beat(f"verifying {checkpoint.path.name}")

    alive()
    try:
        checkpoint.verify(run.rank, run.world_size, alive)
    except StorageError as error:
        return error.message
    return ""


def check_fits(run: Run, model: nn.Module, checkpoint: Checkpoint) -> None:
    """Whether this run can go on from a checkpoint, before anything of it is read.

    Raises `UsageError` for other data, another engine, and `StorageError` for a checkpoint that does not
    hold what the model trains.
    """
    check_same_data(run, checkpoint)
    check_same_engine(run, checkpoint)
    check_same_parameters(run, model, checkpoint)


def check_same_data(run: Run, checkpoint: Checkpoint) -> None:
    """Raise `UsageError` if the sources hold other rows than when the checkpoint was written.

    The cursor of a run is a number of rows: with other rows it means nothing. That the recipe names
    other data is something a user has allowed.
    """
    before, now = checkpoint.manifest.data, run.data_digests
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed and before["data"] == now["data"]:
        raise UsageError(
            f"the content of {' and '.join(changed)} has changed since {checkpoint.path.name}.",
            hint="Put it back, or start a new run: stoker run --fresh.",
        )


def check_same_engine(run: Run, checkpoint: Checkpoint) -> None:
    """Raise `UsageError` for optimizer states that cannot move to this run's engine."""
    manifest, engine = checkpoint.manifest, type(run.engine).__name__
    if not manifest.portable and manifest.engine_class != engine:
        raise UsageError(
            f"the optimizer states of {checkpoint.path.name} cannot move from {manifest.engine_class} "
            f"to {engine}: they do not belong to single elements of the parameters.",
            hint="Go on with the engine of the run, or start a new one: stoker run --fresh.",
        )


def check_same_parameters(run: Run, model: nn.Module, checkpoint: Checkpoint) -> None:
    """Everything that is trained must be in the checkpoint, whole and in its shape.

    What it lacks would begin anew without a word. Where the recipe has changed that may be what was
    meant: a note says so then. Raises `StorageError`.
    """
    manifest = checkpoint.manifest
    stored = {piece.name for piece in manifest.pieces if piece.kind == "weight"}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    shapes = {name: tuple(run.parameter_shapes[name]) for name in trained & stored}
    try:
        require_whole(manifest.pieces, shapes)
    except StorageError as error:
        raise StorageError(
            f"{checkpoint.path.name} does not fit the model: {error.message}",
            hint="Go on with the model of the run, or start a new one: stoker run --fresh.",
        ) from error
    for names, words in (
        (trained - stored, "begin with their initial values: {} does not hold them"),
        (stored - trained, "are not trained any more, though {} holds them"),
    ):
        if names and manifest.recipe_fingerprint == run.recipe.fingerprint():
            raise StorageError(
                f"{checkpoint.path.name} and the model differ in {_some(names)}.",
                hint="The model's files have changed. Put them back, or start anew: stoker run --fresh.",
            )
        if names and run.is_main:
            message = f"{_some(names)} {words.format(checkpoint.path.name)}"
            run.events.write("note", message=message)


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def restore(state: State, checkpoint: Checkpoint, passed_over: list[str]) -> None:
    """Put the cursor and the counters where the checkpoint left them."""
    manifest, run = checkpoint.manifest, state.run
    state.step = run.step = manifest.step
    state.tokens = manifest.tokens
    state.supervised_tokens = manifest.supervised_tokens
    state.best_eval_loss = manifest.best_eval_loss
    state.best_step = manifest.best_step
    state.evaluated_step = manifest.evaluated_step
    state.skipped_before = manifest.step - manifest.optimizer_steps
    state.metrics = dict(manifest.metrics)
    state.checkpoints = [
        known
        for known in list_checkpoints(run.directory.checkpoints_path)
        if known.step <= manifest.step and known.manifest.run == manifest.run
    ]
    state.engine.load_state(manifest.engine)
    run.hooks.load_state(manifest.plugins)
    if run.is_main:
        run.events.write(
            "resume", step=state.step, checkpoint=checkpoint.path.name, passed_over=passed_over
        )
        _set_newer_aside(run, checkpoint)


def _set_newer_aside(run: Run, checkpoint: Checkpoint) -> None:
    """What was passed over is of another past from here on, even if its fault should mend itself.

    Not what belongs to another run: whoever put it there may want it there.
    """
    for found in survey(run.directory.checkpoints_path):
        if found.name <= checkpoint.path.name or _is_of_another_run(found.checkpoint, checkpoint):
            continue
        try:
            place = set_aside(found.checkpoint.path)
        except OSError as error:
            message = f"{found.name} was passed over and could not be set aside: {error}"
        else:
            message = f"{found.name} was passed over; it is now {place.name}, to look at or to delete"
        run.events.write("alert", message=message)


def _is_of_another_run(found: Checkpoint, own: Checkpoint) -> bool:
    try:
        return found.manifest.run != own.manifest.run
    except StorageError:
        return False

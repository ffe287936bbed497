"""What the cockpit does to the world: commands that anybody could type."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.run.directory import RunDirectory
from stoker_tui.models.actions import Actions, Done, twin


@pytest.fixture
def asked():
    return []


@pytest.fixture
def actions(tmp_path, asked):
    def run(arguments):
        asked.append(twin(arguments).replace(str(tmp_path), "DIR"))
        return Done(twin(arguments), 0, "", "")

    return Actions(tmp_path, runner=run)


def test_actions_are_commands(actions, asked, tmp_path):
    actions.launch(tmp_path / "a recipe.toml", "--nproc", "2")
    here, elsewhere = RunDirectory(tmp_path / "alpha"), RunDirectory(tmp_path / "other" / "beta")
    actions.change(*actions.changing("stop", here))
    actions.change(*actions.changing("checkpoint", elsewhere))
    actions.change(*actions.changing("resume", here, "--skip-batches", "1"))
    assert asked == [
        "stoker run 'DIR/a recipe.toml' --run-dir DIR --detach --nproc 2",
        "stoker stop alpha --run-dir DIR --no-wait",
        "stoker checkpoint DIR/other/beta --run-dir DIR --no-wait",
        "stoker resume alpha --run-dir DIR --detach --skip-batches 1",
    ]
    assert [done.command.replace(str(tmp_path), "DIR") for done in actions.log] == asked


def test_nothing_is_changed_when_read_only(actions, asked):
    actions.read_only = True
    for change in ("stop", "resume", "checkpoint"):
        with pytest.raises(UsageError, match="read-only"):
            actions.change(change, "alpha")
    assert not asked
    actions.look("runs")
    assert len(asked) == 1

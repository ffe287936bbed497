"""Several runs in ranks that are started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.errors import ExitCode
from stoker.run.trials import TrialRanks
from stoker.testing import tiny_recipe


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialRanks]:
    with TrialRanks(2, tmp_path_factory.mktemp("ranks")) as running:
        yield running


def test_one_run_after_the_other_gives_what_each_gives_alone(ranks: TrialRanks, tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    first, second = ranks.run("first", recipe), ranks.run("second", recipe)
    assert first.problem == second.problem == ""
    assert len(first.values("loss")) == 3
    assert first.values("loss") == second.values("loss")
    # The second does without importing torch and without a new process group.
    assert second.seconds < first.seconds
    assert ranks._starts == 1


def test_a_failure_on_all_ranks_is_told_and_the_next_run_goes_on(
    ranks: TrialRanks, tmp_path: Path
) -> None:
    failed = ranks.run("failed", tiny_recipe(tmp_path, ["train.learning_rate=10", "train.steps=200"]))
    if not failed.failure:
        pytest.fail("a learning rate of 10 for 200 steps stays finite")
    assert failed.failure.exit_code == ExitCode.NON_FINITE
    assert "was not finite" in failed.problem
    assert ranks.run("after", tiny_recipe(tmp_path)).problem == ""


def test_after_a_rank_that_dies_without_a_word_the_others_are_killed_and_all_started_anew(
    ranks: TrialRanks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoker.run.trials.SECONDS_FOR_THE_OTHERS", 0.5)
    recipe = tiny_recipe(tmp_path)
    assert ranks.run("before", recipe).problem == ""
    starts = ranks._starts
    ranks._ranks[1].kill()
    ranks._ranks[1].wait()
    trial = ranks.run("died", recipe)
    assert trial.failure is not None
    assert ranks._ranks == []
    assert ranks.run("afterwards", recipe).problem == ""
    assert ranks._starts == starts + 1

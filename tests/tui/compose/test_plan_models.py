"""What a plan, a comparison and a run's plan say, and the bars that are drawn of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker_tui.models.comparison_view import comparison_view
from stoker_tui.models.compose.document import Document
from stoker_tui.models.neighbour_view import neighbours_of
from stoker_tui.models.plan_view import plan_view, short_hours, why_unplanned
from stoker_tui.models.rewrite import changes_of, diff_lines, rewritten
from stoker_tui.models.run_plan import read_run_plan
from stoker_tui.widgets.bars import bar_between, memory_lines, total_bar


def test_components_add_up_to_the_total(canned_plan):
    view = plan_view(canned_plan)
    assert sum(each.size for each in view.components) == pytest.approx(view.total)
    assert "master weights" not in [each.name for each in view.components]  # there are none


def test_money_is_said_with_its_rate_and_where_that_is_from(canned_plan):
    view = plan_view(canned_plan)
    assert view.money == "$30.52 (26.54 to 35.10), $2.67 per GPU-hour at vast, as of 2026-10-24"
    assert view.source == "an average over offers"


def test_a_plan_without_steps_and_price_says_so(canned_plan):
    canned_plan |= {"steps": None, "hours": None, "cost_usd": None, "prices": [], "step_seconds": None}
    view = plan_view(canned_plan)
    assert (view.hours, view.steps, view.money) == ("", "", "no price is known")


def test_text_from_files_cannot_steer_the_terminal(canned_plan):
    canned_plan["name"] = "smoke\x1b[2J"
    assert "\x1b" not in plan_view(canned_plan).name


def test_a_bar_begins_where_the_one_before_it_ends():
    assert bar_between(0, 0.5, 8) == "████"
    assert bar_between(0.5, 1, 8) == "    ████"
    assert bar_between(0.5, 0.5001, 8) == "    ▏"


def test_the_bar_of_what_does_not_fit_has_a_rule_where_the_gpu_ends(canned_plan):
    canned_plan["fits"] = False
    canned_plan["per_gpu"] |= {"total": 169.8e9, "allocated": 160e9}
    view = plan_view(canned_plan)
    assert total_bar(view, 10) == "█████│████"
    lines = [line.plain for line in memory_lines(view, 40)]
    assert lines[0].startswith("DOES NOT FIT 169.8 GB of 84.9 GB")
    assert lines[-1].split() == ["too", "much", "84.9", "GB"]
    assert all(len(line) <= 40 for line in lines)


def test_hours_are_said_in_the_unit_that_fits():
    assert [short_hours(hours) for hours in (12.345, 0.5, 0.001)] == ["12.3 h", "30 min", "3.6 s"]


def test_neighbours_that_are_the_same_are_one(canned_comparison):
    row = {**canned_comparison["candidates"][0], "words": "1 GPU"}
    both = neighbours_of({"cheaper": row, "faster": row, "steps": 1000})
    assert [(each.kind, each.amounts) for each in both] == [("cheaper, faster", "$16.79, 6.29 h")]
    assert neighbours_of({"cheaper": None, "faster": row, "steps": 1000})[0].kind == "faster"


def test_a_candidate_changes_only_what_differs_and_keeps_the_comments(
    canned_comparison, recipe_text, bench
):
    document = Document(recipe_text, Path("smoke.toml"))
    [first, *_] = comparison_view(canned_comparison).candidates
    text = rewritten(document, changes_of(first, document, bench.schema()))
    assert diff_lines(recipe_text, text) == [
        "@@ -16,3 +16,3 @@",
        " batch_size = 8",
        "-micro_batch_size = 4",
        "+micro_batch_size = 2",
        " learning_rate = 3e-3",
    ]
    assert document.text == recipe_text


def test_why_there_is_no_plan_is_said_in_words():
    problem = {"severity": "error", "key": "train.steps", "message": "found 0.", "hint": ""}
    answer = {"plan": None, "unplanned": None, "problems": [problem]}
    assert why_unplanned(answer) == "no plan while the recipe has problems: train.steps: found 0."
    answer["unplanned"] = {"message": "x is not known.", "hint": "Give it."}
    assert why_unplanned(answer) == "x is not known. Give it."


@pytest.mark.parametrize("content", ['{"v": 1}', "[]", "", '{"per_gpu": 3, "host_bytes": 0}'])
def test_a_damaged_plan_of_a_run_is_no_reason_to_crash(written, tmp_path, content):
    run = written.write_run(tmp_path, "a", "done", steps=5, total=5, ranks=2)
    run.plan_path.write_text(content)
    found = read_run_plan(run)
    assert found.view is None
    assert found.problem


def test_a_run_that_was_not_graded_shows_what_was_planned(written, tmp_path, canned_plan):
    run = written.write_run(tmp_path, "a", "done", steps=5, total=5, ranks=2)
    run.plan_path.write_text(json.dumps(canned_plan))
    found = read_run_plan(run)
    assert [row.measured for row in found.rows] == ["-"] * len(found.rows)
    assert "Not compared yet" in found.notes[0]

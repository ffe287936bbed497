"""What the screen Runs makes of rows: cells, order, curves, GPUs, comparisons."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from stoker.run.overview import RunRow, damaged_row
from stoker.run.telemetry import read_latest
from stoker_tui.models.chart_view import NUM_LOOKS
from stoker_tui.models.comparison import Comparison, as_text, differences, outcomes
from stoker_tui.models.overlay import Looks, Overlay
from stoker_tui.models.run_cells import KEYS, about, loss_cell, rough, run_cells, steps
from stoker_tui.models.runs_view import LETTERS, RunsView
from stoker_tui.models.styled import plain
from stoker_tui.models.watch_charts import ChartOptions
from stoker_tui.models.watch_ranks import gpu_lines

NOW = 1_000_000.0


def row(name="a", state="done", **values):
    return RunRow(name=name, path=Path("runs") / name, state=state, **values)


def texts(row):
    return dict(zip(KEYS, (piece.text for piece in run_cells(row, NOW)), strict=True))


def test_a_row_is_short_words():
    cells = texts(row(
        state="running", model="Qwen3-8B", method="lora r16", ranks=8, step=2040, total_steps=5974,
        loss=1.41234, tokens_per_second=70_012.0, usd=70.3, eta_seconds=14_700.0, created=NOW - 7_300,
    ))  # fmt: skip
    assert cells == {
        "state": "● run", "name": "a", "model": "Qwen3-8B", "method": "lora r16", "ranks": "8",
        "step": "2040/5974", "loss": "1.412", "tokens": "70k", "usd": "$70.30", "eta": "4h05",
        "age": "2h01", "note": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("preparing", "◐ prep"), ("running", "● run"), ("saving", "● run"), ("done", "✓ done"),
        ("failed", "✗ fail"), ("preempted", "⚠ preempt"), ("stopped", "■ stop"), ("lost", "? lost"),
        ("damaged", "✗ damaged"),
    ],
)  # fmt: skip
def test_every_state_has_a_glyph_and_a_word(state, word):
    assert texts(row(state=state))["state"] == word


def test_a_damaged_run_says_why_and_nothing_else():
    cells = texts(damaged_row(Path("runs/a"), "run.json \x1b[31mis torn"))
    assert cells["note"] == "run.json ?[31mis torn"
    assert {cells[key] for key in KEYS[2:-1]} == {"-"}


def test_a_loss_that_is_not_finite_is_said_in_words_and_colour():
    assert loss_cell(math.nan) == ("nan", "bad")
    assert loss_cell(None).text == "-"
    assert loss_cell(12_345.6).text == "12.35k"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (59, "59s"),
        (61, "1m"),
        (3_599, "59m"),
        (14_700, "4h05"),
        (86_400, "24h"),
        (9e5, "10d"),
    ],
)
def test_times_are_as_rough_as_they_may_be(seconds, words):
    assert rough(seconds) == words


@pytest.mark.parametrize(
    ("step", "total", "words"),
    [(0, 0, "-"), (7, 0, "7"), (2040, 5974, "2040/5974"), (480_000, 1_000_000, "480k/1M")],
)
def test_steps_of_long_runs_are_rounded_not_cut(step, total, words):
    assert steps(row(step=step, total_steps=total)) == words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "failed", "note": "CUDA out of memory"}, "CUDA out of memory."),
        ({"state": "failed"}, "it failed, and does not say why."),
        ({"state": "preempted", "step": 880, "note": "aws takes it away"}, "aws takes it away: R "),
        ({"state": "lost", "step": 5}, "its processes are gone: R goes on from step 5."),
        ({"state": "running", "model": "tiny", "method": "full", "ranks": 1, "host": "x", "usd": 1.0,
          "projected_usd": 2.0, "usd_per_hour": 3.0},
         "tiny, full, 1 rank on x, $1.00 of about $2.00 at $3.00/h"),
        ({"state": "preparing", "ranks": 8, "host": "x", "note": "tokenising 25 %"},
         "8 ranks on x, tokenising 25 %"),
    ],
)  # fmt: skip
def test_the_line_below_says_what_is_odd(values, words):
    assert about(row(**values)).text.startswith(words)


def test_while_a_word_of_the_filter_is_typed_those_before_it_count():
    view = RunsView.begin().filtered_by("state:run loss<")
    assert view.query.text == "state:run"
    assert view.error is not None
    assert view.filtered_by('(a "b').query.text == "state:run"
    assert view.filtered_by("loss<2").error is None


def test_sorting_by_the_same_again_turns_the_order_round():
    view = RunsView.begin().sorted_by("loss")
    assert (view.sort, view.descending) == ("loss", False)
    assert view.sorted_by("loss").descending
    assert view.sorted_by("tokens").descending
    rows = [row("a", loss=2.0), row("b", loss=1.0), row("c")]
    assert [each.name for each in view.rows(rows, NOW)] == ["b", "a", "c"]


def test_every_letter_sorts():
    rows = [row("a", loss=2.0), row("b", state="failed", loss=math.nan), damaged_row(Path("c"), "torn")]
    for key, _ in LETTERS.values():
        assert len(RunsView.begin().sorted_by(key).rows(rows, NOW)) == 3


def test_the_words_above_count_runs_and_money():
    rows = [row("a", "running", usd_per_hour=31.92), row("b"), row("c")]
    assert RunsView.begin().words(2, rows) == "2 of 3 runs, 1 at work at $31.92/h  sort: age ▲"
    assert RunsView.begin().words(1, rows[1:2]) == "1 run  sort: age ▲"


def test_a_run_keeps_its_look_and_no_two_share_one():
    looks = Looks()
    assert looks.choose(["a", "b"]) == {"a": 0, "b": 1}
    assert looks.choose(["b"]) == {"b": 1}
    assert looks.choose(["b", "c"]) == {"b": 1, "c": 0}
    assert looks.choose(["c", "a", "b"]) == {"c": 0, "a": 2, "b": 1}
    many = looks.choose([str(number) for number in range(9)])
    assert sorted(many.values()) == list(range(NUM_LOOKS))


def test_curves_of_several_runs_lie_over_each_other(tmp_path, written):
    runs = {name: written.write_run(tmp_path, name, steps=50) for name in ("a", "b")}
    overlay = Overlay(lambda: written.EPOCH)
    overlay.choose(runs, {"a": 3, "b": 1})
    while overlay.read(1.0):
        pass
    view = overlay.view(ChartOptions(), "loss")
    assert [(curve.label, curve.look, len(curve.series)) for curve in view.curves] == [
        ("4 a", 3, 50),
        ("2 b", 1, 50),
    ]
    timed = overlay.view(ChartOptions(axis="time"), "loss").curves[0].series
    assert timed.extent == pytest.approx((23.75, 20 + 50 * written.STEP_SECONDS))


def test_curves_grow_and_nothing_changes_when_nothing_has_happened(tmp_path, written):
    directory = written.write_run(tmp_path, "a", "running", steps=50)
    overlay = Overlay(lambda: written.EPOCH)
    overlay.choose({"a": directory}, {})
    overlay.read(1.0)
    before = overlay.revision
    overlay.read(1.0)
    assert overlay.revision == before
    written.append_steps(directory, 51, 60, 400)
    overlay.read(1.0)
    assert overlay.revision > before
    assert len(overlay.view(ChartOptions(), "loss").curves[0].series) == 60
    overlay.choose({}, {})
    assert overlay.view(ChartOptions(), "loss").curves == ()


def test_the_latest_samples_of_gpus_are_a_table(tmp_path, written):
    directory = written.write_run(tmp_path, "a", "running", steps=50, ranks=2, slow_rank=1)
    gpus = read_latest(directory.telemetry_path).gpus
    assert [(gpu.index, gpu.utilization, gpu.celsius) for gpu in gpus] == [(0, 91, 58), (1, 99, 83)]
    head, _, slow = (plain(each) for each in gpu_lines(gpus))
    assert head.split() == ["GPU", "util", "GB", "W", "°C"]
    assert slow.split() == ["1", "99", "%", "████████", "64/86", "402", "83!"]
    none = written.write_run(tmp_path, "b", gpus=False, steps=5)
    assert gpu_lines(read_latest(none.telemetry_path).gpus) == []


def test_only_settings_that_differ_are_shown():
    first = {"run": {"name": "a"}, "train": {"learning_rate": 0.1, "steps": 3}, "plugins": {"fsdp": {}},
             "data": {"train": [{"path": "x", "weight": 1.0}]}}  # fmt: skip
    second = {"run": {"name": "b"}, "train": {"learning_rate": 0.2, "steps": 3},
              "plugins": {"lora": {"rank": 8}}, "data": {"train": [{"path": "y\n", "weight": 1.0}]},
    }  # fmt: skip
    assert [(line.key, line.values) for line in differences([first, second])] == [
        ("train.learning_rate", ("0.1", "0.2")),
        ("plugins.fsdp", ("on", "-")),
        ("data.train[0].path", ("x", "y\n")),
        ("plugins.lora.rank", ("-", "8")),
    ]
    assert differences([first, first]) == []


def test_a_comparison_has_how_each_run_went():
    rows = [row("a", "done", loss=1.5, tokens_per_second=100.0, usd=2.0, started=10.0, ended=135.0),
            row("b", "failed", loss=math.nan)]  # fmt: skip
    lines = {line.key: line.values for line in outcomes(rows, NOW)}
    assert lines["state"] == ("✓ done", "✗ fail")
    assert lines["loss"] == ("1.500", "nan")
    assert lines["spent"] == ("$2.00", "-")
    assert lines["time, last attempt"] == ("2:05", "-")
    assert as_text(["a", "b"], [Comparison("x", ("1", "2"))]) == "\ta\tb\nx\t1\t2\n"

"""The process that checks and plans: quick, alone with what plugins do, and gone when nobody listens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jsonschema import Draft202012Validator

from stoker_tui.models.compose.bench import Bench, BenchError, Superseded
from stoker_tui.models.compose.preview import read_preview

REPOSITORY = Path(__file__).parents[3]
SHIPPED = sorted((REPOSITORY / "recipes").glob("*.toml"))
SMOKE = REPOSITORY / "recipes/smoke.toml"
PLUGIN = """\
import os, sys, time
from stoker import Plugin

class Rude(Plugin):
    pass

class Loud(Rude):
    pass

print("a plugin prints", flush=True)
WHAT = "{what}"
if WHAT == "crash":
    os.write(2, b"the plugin is done for\\n")
    os._exit(7)
if WHAT == "hang":
    time.sleep(600)
if WHAT == "read":
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def own_bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def with_plugin(folder: Path, what: str, patch: pytest.MonkeyPatch) -> str:
    """Install a plugin that misbehaves; returns a recipe that uses it."""
    (folder / "rude.py").write_text(PLUGIN.replace("{what}", what))
    metadata = folder / "rude-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: rude\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[stoker.plugins]\nrude = rude:Rude\n")
    patch.syspath_prepend(str(folder))
    return SMOKE.read_text() + "\n[plugins.rude]\n"


def schema_of(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((REPOSITORY / f"docs/schemas/{name}.json").read_text()))


def wait_until_gone(pid: int, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_text_is_checked_and_planned_without_a_file(own_bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    text = SMOKE.read_text().replace(
        '{ path = "demo:docstrings" }', '{ path = "rows.jsonl", format = "text" }'
    )
    path = tmp_path / "new.toml"
    answer = own_bench.plan(text, path, gpu="a100-80gb")
    assert answer["ok"], answer["problems"]
    assert answer["plan"]["gpu"] == "a100-80gb"
    assert answer["plan"]["formulas"]
    assert not path.exists()


def test_answers_have_the_shapes_of_the_command_line(own_bench: Bench) -> None:
    text = (REPOSITORY / "recipes/lora_8b.toml").read_text()
    plan = own_bench.plan(text, None, gpu="h100-80gb")["plan"]
    schema_of("stoker-plan").validate(plan)
    schema_of("stoker-plan-compare").validate(own_bench.compare(text, None, gpu="h100-80gb"))
    problems = own_bench.check(text.replace("rank = 16", "rnk = 16"), None)
    schema_of("stoker-check").validate({"ok": False, "problems": problems})
    assert problems[0]["fix"]["title"] == "rename plugins.lora.rnk to plugins.lora.rank"


def test_a_recipe_with_errors_has_problems_and_no_plan(own_bench: Bench) -> None:
    answer = own_bench.plan("[train\n", None)
    assert (answer["ok"], answer["plan"], answer["unplanned"]) == (False, None, None)
    assert answer["problems"][0]["line"] == 1


def test_a_model_that_nobody_knows_is_told_in_words(own_bench: Bench) -> None:
    text = (REPOSITORY / "recipes/lora_8b.toml").read_text().replace("Qwen/Qwen3-8B", "no/such-model")
    answer = own_bench.plan(text, None)
    assert answer["ok"]
    assert answer["plan"] is None
    assert "no/such-model" in answer["unplanned"]["message"]


def test_a_wrong_machine_is_told(own_bench: Bench) -> None:
    answer = own_bench.plan(SMOKE.read_text(), SMOKE, gpu="a1000")
    assert answer["unplanned"]["message"].startswith("no GPU")


def test_check_and_plan_are_quick(own_bench: Bench) -> None:
    slowest: dict[str, float] = {}
    for path in SHIPPED:
        text = path.read_text()
        own_bench.plan(text, path)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            own_bench.plan(text, path)
            times.append(time.perf_counter() - began)
        slowest[path.stem] = min(times)
    # Alone on a machine each takes a tenth of that.
    assert max(slowest.values()) < 1.0, slowest


def test_neighbours_are_one_change_away_and_say_what_they_save(own_bench: Bench) -> None:
    path = REPOSITORY / "recipes/zero3_offload_8b.toml"
    found = own_bench.neighbours(path.read_text(), path, gpu="h100-80gb")
    assert found["cheaper"]["words"]
    assert found["cheaper"]["saves_usd"] > 0
    assert found["faster"]["saves_hours"] > 0
    fitting = own_bench.neighbours(SHIPPED[9].read_text(), SHIPPED[9], gpu="a10g-24gb")
    assert fitting["steps"] > 0


def test_of_two_requests_the_newer_wins(own_bench: Bench) -> None:
    text = (REPOSITORY / "recipes/full.toml").read_text()
    own_bench.plan(text, None)
    overtaken: list[bool] = []

    def ask(number: int) -> None:
        try:
            own_bench.compare(text.replace('"full"', f'"full-{number}"'), None)
        except Superseded:
            overtaken.append(True)
        else:
            overtaken.append(False)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert overtaken.count(True) >= 2
    assert overtaken.count(False) >= 1


def test_what_a_plugin_prints_or_reads_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = with_plugin(tmp_path, "read", monkeypatch)
    bench = Bench()
    assert bench.plan(text, None)["plan"] is not None
    assert "rude" in bench.schema()["properties"]["plugins"]["properties"]
    bench.close()


def test_a_plugin_that_ends_the_process_is_told_and_the_next_text_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = with_plugin(tmp_path, "crash", monkeypatch)
    bench = Bench()
    with pytest.raises(BenchError, match=r"ended with 7: the plugin is done for"):
        bench.plan(text, None)
    assert bench.plan(SMOKE.read_text(), SMOKE)["plan"] is not None
    assert "rude" not in bench.schema()["properties"]["plugins"]["properties"]
    assert "ends the process" in bench.failures["rude"]
    bench.close()


def test_a_plugin_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = with_plugin(tmp_path, "hang", monkeypatch)
    bench = Bench({"plan": 1.5})
    with pytest.raises(BenchError, match=r"no answer within 1\.5 s"):
        bench.plan(text, None)
    assert bench.check(SMOKE.read_text(), SMOKE) == []
    bench.close()


def test_nobody_waits_for_a_bench_that_is_closed() -> None:
    bench = Bench()
    bench.check(SMOKE.read_text(), SMOKE)
    bench.close()
    with pytest.raises(BenchError):
        bench.check(SMOKE.read_text(), SMOKE)


@pytest.mark.parametrize("what", ["plain", "hang"])
def test_the_process_ends_with_the_one_that_asks_even_in_the_middle_of_an_answer(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = with_plugin(tmp_path, what, monkeypatch)
    program = textwrap.dedent("""
        import sys, threading
        from stoker_tui.models.compose.bench import Bench
        bench = Bench()
        bench.check("", None)
        print(bench._child.pid, flush=True)
        bench.check(sys.argv[1], None)
        threading.Event().wait()
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as cockpit:
        assert cockpit.stdout is not None
        child = int(cockpit.stdout.readline())
        time.sleep(0.3)
        cockpit.send_signal(signal.SIGKILL)
        cockpit.wait()
    assert wait_until_gone(child)


def test_the_process_imports_nothing_that_trains() -> None:
    program = """
import sys
from stoker.bench import answers
answers.plan(lambda: None, sys.argv[1], "x.toml")
answers.compare(lambda: None, sys.argv[1], "x.toml", limit=1)
answers.neighbours(lambda: None, sys.argv[1], "x.toml")
print([name for name in ("torch", "numpy", "transformers", "datasets") if name in sys.modules])
"""
    command = [sys.executable, "-c", program, SMOKE.read_text()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_rows_of_the_data_are_shown_as_the_model_will_see_them(own_bench: Bench) -> None:
    answer: dict[str, Any] = own_bench.preview(SMOKE.read_text(), SMOKE, count=2)
    preview = read_preview(answer)
    assert preview.problems == ()
    assert {row.key for row in preview.rows} == {"data.train.0", "data.eval.0"}
    row = preview.of("data.train.0")[0]
    assert {segment.supervised for segment in row.segments} == {True, False}
    assert row.counts.startswith(f"{row.num_tokens} tokens, {row.num_supervised} supervised")
    wrong = read_preview(own_bench.preview("", None))
    assert wrong.rows == ()
    assert wrong.problems

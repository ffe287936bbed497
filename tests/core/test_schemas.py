"""Files of runs and JSON of commands keep to docs/schemas; docs/files.md says so truly."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

from stoker import Plugin, PluginConfig, hookimpl
from stoker.cli import COMMANDS, group
from stoker.errors import Interrupted
from stoker.recipe.schema import RecipeTables
from stoker.run.attempt import begin_attempt, end_attempt, report_hang
from stoker.run.control import request
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter, read_events
from stoker.run.notices import Notice
from stoker.run.outcome import read_outcomes, write_outcome
from stoker.run.restarts import Restart
from stoker.run.watchdog import Hang
from stoker.testing import tiny_fit, tiny_recipe

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = {
    path.stem: json.loads(path.read_text()) for path in (REPOSITORY / "docs/schemas").glob("*.json")
}
PAGE = (REPOSITORY / "docs/files.md").read_text()

FILES = {
    "run.json": "run",
    "recipe.toml": None,
    "recipe.lock.json": "recipe.lock",
    "plan.json": "plan",
    "events.jsonl": "event",
    "ledger.jsonl": "ledger",
    "telemetry/*.jsonl": "telemetry",
    "checkpoints/step-*/manifest.json": "manifest",
    "checkpoints/step-*/manifest.sha256": None,
    "checkpoints/step-*/rank-*.safetensors": None,
    "control/*.json": "control",
    "logs/attempt-*/rank-*.log": None,
    "logs/attempt-*/arrivals.jsonl": "arrivals",
    "logs/attempt-*/rank-*.outcome.json": "outcome",
    "logs/attempt-*/rank-*.stack": None,
    "profile/rank-*-steps-*": None,
    "logs/attempt-*/rank-*.beat": None,
    "logs/attempt-*/trackers.log": None,
    "logs/supervisor.log": None,
    "trackers/*": None,
    "lease.json": "lease",
    "run.json.lock": None,
    "store/attempt-*": None,
}
"""Every file of a run directory and its schema; None for what is no JSON of ours."""

EVENT_COMMANDS = {"run", "resume"}
"""Their `--json` is that of `watch`."""
ELSEWHERE = {"stoker-calibrate"}
"""Printed by a command that takes a minute: its test has a smaller one."""

_REGISTRY: Registry[Any] = Registry().with_resources(
    (f"{name}.json", Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)
_VALIDATORS = {
    name: Draft202012Validator({"$ref": f"{name}.json"}, registry=_REGISTRY) for name in SCHEMAS
}


def problem_of(value: Any, schema: str) -> str | None:
    """What is wrong with a value by a schema; None if nothing is."""
    error = best_match(_VALIDATORS[schema].iter_errors(value))
    return error and f"{schema}: {error.json_path}: {error.message}"


def check(value: Any, schema: str) -> None:
    assert problem_of(value, schema) is None


def parse(text: str) -> Any:
    """Parse JSON as other languages do: NaN and Infinity are none."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def check_file(directory: RunDirectory, path: Path) -> None:
    """Fail for a file that is not documented or does not keep to its schema."""
    place = path.relative_to(directory.path).as_posix()
    pattern = next((pattern for pattern in FILES if fnmatch(place, pattern)), None)
    assert pattern is not None, f"docs/files.md does not know {place}"
    schema = FILES[pattern]
    if schema is None:
        return
    for text in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
        check(parse(text), schema)


@dataclass
class History:
    """A run that was stopped and resumed, and what commands printed meanwhile, by schema."""

    directory: RunDirectory
    printed: dict[str, list[Any]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where stoker is called from: a recipe, a model, data, and a recipe with mistakes."""
    home = tmp_path_factory.mktemp("home")
    tiny_recipe(home)
    text = (home / "tiny.toml").read_text()
    # Their events and files are those that no other plugin and no core writes.
    more = "[plugins.memory]\nat_step = 1\n[plugins.profile]\nsteps = '1'\n"
    more += "[plugins.cost]\nusd_per_gpu_hour = 2.5\n[plugins.telemetry]\n"
    (home / "tiny.toml").write_text(f"{text}\n{more}interval_seconds = 0.2\n")
    (home / "wrong.toml").write_text(text.replace("learning_rate", "learning_rte"))
    return home


def call(home: Path, *arguments: str, code: int = 0) -> str:
    """Standard output of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "stoker", *arguments], cwd=home, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def history(home: Path) -> History:
    directory = RunDirectory(home / "runs" / "tiny")
    printed: dict[str, list[Any]] = {}

    def ask(schema: str, *arguments: str, code: int = 0) -> Any:
        value = parse(call(home, *arguments, "--json", code=code))
        printed.setdefault(schema, []).append(value)
        return value

    ask("stoker-run-dry-run", "run", "tiny.toml", "--dry-run")
    endless = ("--detach", "--set", "train.steps=1000000")
    started = ask("stoker-run-detach", "run", "tiny.toml", "--nproc", "1", *endless)
    try:
        ask("stoker-show", "show", "tiny")
        wait_for_a_step(directory)
        ask("stoker-checkpoint", "checkpoint", "tiny")
        ask("stoker-checkpoint", "checkpoint", "tiny", "--no-wait")
        ask("stoker-verify", "verify", "tiny")
        ask("stoker-torture", "torture", "--corrupt", "--ranks", "1")
        ask("stoker-runs", "runs")
        steps = ask("stoker-stop", "stop", "tiny")["step"] + 2
    finally:
        if directory.read_record().exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(started["pid"], signal.SIGTERM)
    longer = ("--set", f"train.steps={steps}", "--allow-change", "train.steps")
    lines = call(home, "resume", "tiny", *longer, "--json") + call(home, "watch", "tiny", "--json")
    printed["stoker-watch"] = [parse(line) for line in lines.splitlines()]
    directory.log_path(2, 0).write_text("a warning of some library\n")
    printed["stoker-logs"] = [parse(call(home, "logs", "tiny", "--json"))]
    ask("stoker-new", "new")
    asked = ("--examples", "20000", "--model", "llama-3-8b", "--gpu", "a100-80gb", "--gpus", "1")
    ask("stoker-advise", "advise", *asked)
    ask("stoker-advise", "advise", *asked, "--budget-usd", "0.01", code=4)
    ask("stoker-check", "check", "tiny.toml")
    ask("stoker-check", "check", "wrong.toml", code=2)
    ask("stoker-plan", "plan", "tiny.toml", "--explain")
    ask("stoker-plan", "plan", "tiny.toml", "--gpu", "h100-80gb", "--gpus", "2", "--price", "2.5")
    ask("stoker-plan", "plan", "tiny.toml", "--max-hours", "0", code=4)
    ask("stoker-plan-compare", "plan", "tiny.toml", "--compare", "--gpu", "h100-80gb", "--gpus", "2")
    seed = ("--profile", "seed", "--set", "model.path=llama-3-8b", "--gpu", "a100-80gb")
    ask("stoker-plan-seed", "plan", "tiny.toml", *seed)
    ask("stoker-explain", "explain", "tiny.toml", "train.steps")
    ask("stoker-explain", "explain", "tiny.toml", "data.train")
    ask("stoker-plugins", "plugins")
    for row in printed["stoker-plugins"][0]:
        ask("stoker-plugins-name", "plugins", row["name"])
    ask("stoker-plugins-matrix", "plugins", "--matrix")
    few = ("--engine", "default", "--precision", "bf16", "--steps", "1", "--nproc", "1")
    ask("stoker-equivalence", "equivalence", "tiny.toml", *few)
    ask("stoker-doctor", "doctor")
    ask("stoker-show", "show", "tiny")
    ask("stoker-runs", "runs")
    ask("stoker-export", "export", "tiny", "--to", "exported")
    request(directory, "checkpoint", reason="extra keys are allowed here")
    return History(directory, printed)


def wait_for_a_step(directory: RunDirectory) -> None:
    deadline = time.monotonic() + 120
    while not any(event["kind"] == "step" for event in read_events(directory.events_path)):
        assert time.monotonic() < deadline, "no step was done"
        assert directory.read_record().exit_code is None, directory.read_record().error
        time.sleep(0.1)


def test_every_file_of_a_run_is_documented_and_keeps_to_its_schema(history: History) -> None:
    paths = [path for path in history.directory.path.rglob("*") if path.is_file()]
    for path in paths:
        check_file(history.directory, path)
    places = [path.relative_to(history.directory.path).as_posix() for path in paths]
    unseen = {pattern for pattern in FILES if not any(fnmatch(place, pattern) for place in places)}
    # One rank meets nobody, and nobody hangs; signs of life are gone after the attempt.
    elsewhere = {"store/attempt-*", "logs/attempt-*/rank-*.stack", "logs/attempt-*/rank-*.beat"}
    # Ranks that print nothing arrive nowhere.
    elsewhere |= {"logs/attempt-*/arrivals.jsonl"}
    # Their libraries take seconds to import; tests of the plugin look at these.
    elsewhere |= {"trackers/*", "logs/attempt-*/trackers.log"}
    # Traces take seconds and megabytes.
    assert unseen <= elsewhere | {"profile/rank-*-steps-*"}


def test_the_run_has_shown_every_kind_of_event_but_two(history: History) -> None:
    events = read_events(history.directory.events_path)
    kinds = SCHEMAS["event"]["properties"]["kind"]["enum"]
    assert {event["kind"] for event in events} == set(kinds) - {"alert", "preemption"}


def test_the_events_of_a_preemption_keep_to_the_schema(tmp_path: Path) -> None:
    class Warned(Plugin[PluginConfig]):
        @hookimpl
        def collect_notices(self) -> Notice:
            return Notice(provider="test", reason="gone soon", received=1.0)

    class Hinted(Plugin[PluginConfig]):
        @hookimpl
        def collect_notices(self, run: Any) -> Notice | None:
            hint = Notice(provider="test", reason="perhaps", leave=False, deadline=1e9, received=1.0)
            return hint if run.step else None

    fit = tiny_fit(tmp_path, {"hinted": Hinted(PluginConfig())}, ["train.steps=3"])
    with pytest.raises(Interrupted):
        tiny_fit(tmp_path, {"warned": Warned(PluginConfig())}, ["train.steps=3"])
    stopped = read_events(tmp_path / "runs" / "tiny-2" / "events.jsonl")
    events = [event for event in (*fit.events, *stopped) if event["kind"] == "preemption"]
    assert len(events) == 2
    assert [problem_of(event, "event") for event in events] == [None, None]


def test_what_commands_print_keeps_to_their_schemas(history: History) -> None:
    commands = {name for name in SCHEMAS if name.startswith("stoker-")} - ELSEWHERE
    assert set(history.printed) == commands
    for schema, values in history.printed.items():
        assert values
        for value in values:
            check(value, schema)
    before, after = history.printed["stoker-show"]
    assert before["last_step"] is None
    assert after["last_step"]["step"] == after["run"]["total_steps"]
    assert after["plan"]["problem"] is None


def test_a_file_or_key_or_kind_that_is_not_documented_is_found(history: History) -> None:
    directory = history.directory
    event = read_events(directory.events_path)[-1]
    record = parse(directory.record_path.read_text())
    assert problem_of({**event, "kind": "surprise"}, "event") is not None
    assert problem_of({**event, "surprise": 1}, "event") is not None
    assert problem_of({**record, "surprise": 1}, "run") is not None
    assert problem_of({key: record[key] for key in record if key != "boot_id"}, "run") is not None
    with pytest.raises(AssertionError, match=r"does not know surprise\.json"):
        check_file(directory, directory.path / "surprise.json")


def test_a_failed_attempt_keeps_to_the_schemas(home: Path) -> None:
    directory = RunDirectory.create(home / "failures", "tiny", tiny_recipe(home))
    begin_attempt(directory, nproc=1, nodes=1)
    words = {"message": "KeyError: 'x'", "hint": "Look.", "traceback": "Traceback ..."}
    write_outcome(directory, 1, 0, 1, **words)
    directory.log_path(1, 0).write_text("KeyError: 'x'\n")
    stack = directory.attempt_path(1) / "rank-0.stack"
    report_hang(directory, 1, Hang(1, "step 3", 600.0, "it is at x.py:1 in f", ["rank 0 ..."], stack))
    end_attempt(directory, 1, read_outcomes(directory, 1), restart=Restart(1, 2, 5.0))
    assert parse(directory.record_path.read_text())["state"] == "preparing"
    end_attempt(directory, 1, read_outcomes(directory, 1))
    assert parse(directory.record_path.read_text())["error"]["tail"] == ["KeyError: 'x'"]
    assert read_events(directory.events_path)[-1]["error"]["message"] == "KeyError: 'x'"
    for path in directory.path.rglob("*.json*"):
        check_file(directory, path)


@pytest.mark.parametrize(
    "overrides", [["train.precision=fp16_mixed"], ["plugins.optimizers.name=adafactor"]]
)
def test_manifests_of_scaled_losses_and_odd_states_keep_to_the_schema(
    tmp_path: Path, overrides: list[str]
) -> None:
    checkpoint = tiny_fit(tmp_path, {}, overrides).outcome.checkpoint
    manifest = parse((checkpoint / "manifest.json").read_text())
    check(manifest, "manifest")
    assert manifest.keys() == SCHEMAS["manifest"]["properties"].keys()
    assert bool(manifest["engine"]) == manifest["portable"]


def test_a_loss_that_is_not_finite_keeps_to_the_schema(history: History, tmp_path: Path) -> None:
    events = read_events(history.directory.events_path)
    step = next(event for event in events if event["kind"] == "step")
    body = {key: step[key] for key in SCHEMAS["event"]["$defs"]["step"]["required"]}
    EventWriter(tmp_path / "events.jsonl", 1, 0).write("step", **{**body, "loss": float("nan")})
    (event,) = read_events(tmp_path / "events.jsonl")
    assert event["non_finite"] == ["loss"]
    check(event, "event")


def test_every_event_that_the_source_writes_is_documented() -> None:
    calls = [call for root in ("core", "plugins") for call in event_calls(REPOSITORY / root)]
    bodies = SCHEMAS["event"]["$defs"]
    assert {kind for kind, _ in calls} == set(bodies)
    assert set(bodies) == set(SCHEMAS["event"]["properties"]["kind"]["enum"])
    for kind, keys in calls:
        assert keys <= set(bodies[kind]["properties"]), kind


def event_calls(root: Path) -> Iterator[tuple[str, set[str]]]:
    """Kind and keys of each `events.write("kind", key=...)`."""
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr == "write" and re.search(r"(events|EventWriter\(.*\))$", owner):
                kind = node.args[0]
                assert isinstance(kind, ast.Constant), f"{path}:{node.lineno}: which kind?"
                yield kind.value, {keyword.arg for keyword in node.keywords if keyword.arg}


def test_every_command_with_json_has_a_schema() -> None:
    context = group.make_context("stoker", [], resilient_parsing=True)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        if any("--json" in option.opts for option in command.params):
            assert name in EVENT_COMMANDS or f"stoker-{name}" in SCHEMAS


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_describes_each_of_its_properties(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["title"]
    assert schema["description"]
    assert "$id" not in schema
    for place, value in properties(schema):
        while "$ref" in value and "description" not in value:
            value = resolve(schema, value["$ref"])
        assert value.get("description"), f"{name}: {place} has no description"


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All properties that a schema states, those in conditions left out."""
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            if set(value) != {"const"}:
                yield f"{path}.{key}", value
            yield from properties(value, f"{path}.{key}")
        for key, value in schema.items():
            if key != "properties":
                yield from properties(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value, path)


def resolve(schema: Any, reference: str) -> Any:
    file, _, pointer = reference.partition("#")
    value = SCHEMAS[file.removesuffix(".json")] if file else schema
    for part in pointer.strip("/").split("/") if pointer else ():
        value = value[part]
    return value


def test_the_lock_schema_states_the_recipe_tables() -> None:
    wanted = without_titles(RecipeTables.model_json_schema(mode="serialization"))
    tables = wanted.pop("$defs")
    # After a change of a table: copy what pydantic says into `$defs` of the schema.
    assert SCHEMAS["recipe.lock"]["$defs"] == {"RecipeTables": wanted, **tables}


def without_titles(value: Any) -> Any:
    """Without the titles that pydantic makes from names; a property may be called `title`."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key != "title" or isinstance(each, dict)}
        return {key: without_titles(each) for key, each in kept.items()}
    return [without_titles(each) for each in value] if isinstance(value, list) else value


def test_the_page_names_all_files_and_links_all_schemas() -> None:
    tree = PAGE.partition("```text\n")[2].partition("```")[0]
    listed = [line.split()[0] for line in tree.splitlines()[1:]]
    assert set(listed) == set(FILES)
    links = set(re.findall(r"\]\(schemas/([\w.-]+)\.json\)", PAGE))
    assert links == set(SCHEMAS)
    for kind in SCHEMAS["event"]["properties"]["kind"]["enum"]:
        assert f"| `{kind}` |" in PAGE


def test_the_examples_of_the_page_keep_to_the_schemas() -> None:
    pattern = r"\]\(schemas/(?P<schema>[\w.-]+)\.json\)|```(?P<kind>jsonl?)\n(?P<text>.*?)```"
    schema, seen = "", set()
    for found in re.finditer(pattern, PAGE, re.DOTALL):
        schema = found["schema"] or schema
        texts = [found["text"]] if found["kind"] == "json" else (found["text"] or "").splitlines()
        for text in texts:
            check(parse(text), schema)
            seen.add(schema)
    assert seen >= {name for name in FILES.values() if name}

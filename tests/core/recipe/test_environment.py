"""`env:NAME` stands for the value of an environment variable, which is seen by nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from stoker.cli import invoke
from stoker.errors import UsageError
from stoker.recipe.environment import conceal
from stoker.recipe.loading import inspect_recipe, load_recipe
from stoker.recipe.lock import read_lock, write_lock
from stoker.recipe.paths import kind_of, plugin_of
from stoker.recipe.problems import Problem
from stoker.registry import installed_plugins
from stoker.run.changes import change_recipe
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.outcome import read_outcomes

Write = Callable[..., Path]
Stoker = Callable[..., tuple[int, str]]

TOKEN = "tk_5f3b9c-not-for-others"
TRACKER = '''\
"""A plugin with a secret, as somebody else would write it."""

from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, Field, SecretStr, field_validator

from stoker import Plugin, PluginConfig, hookimpl


class Server(BaseModel):
    url: str = "https://tracker.invalid"
    port: int = Field(default=443, ge=1)


class TrackerConfig(PluginConfig):
    token: SecretStr = Field(description="Who we are.")
    spare_tokens: list[SecretStr] = []
    project: str = "runs"
    retries: int = 3
    folder: Path | None = None
    server: Server = Server()
    owner: SecretStr = SecretStr("nobody")

    @field_validator("project")
    @classmethod
    def _is_plain(cls, project: str) -> str:
        if "!" in project:
            raise ValueError(f"{project.upper()}, {project!r} has a mark in it")
        return project


class Tracker(Plugin):
    Config = TrackerConfig

    @hookimpl
    def on_run_start(self, run):
        token = self.config.token.get_secret_value()
        digest = sha256(token.encode()).hexdigest()
        run.events.write("note", message=f"{token} {digest} {self.config.retries}")
'''
TABLE = '[plugins.tracker]\ntoken = "env:TRACKER_TOKEN"\n'


@pytest.fixture(autouse=True)
def tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plugin `tracker` is installed, here and for the ranks of a run; the file of its module."""
    site = tmp_path / "site"
    metadata = site / "tracker-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tracker\nVersion: 1.0\n")
    point = f"{tmp_path.name.replace('-', '_')}_tracker"
    (metadata / "entry_points.txt").write_text(f"[stoker.plugins]\ntracker = {point}:Tracker\n")
    module = site / f"{point}.py"
    module.write_text(TRACKER)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("TRACKER_TOKEN", TOKEN)
    for name in ("RANK", "WORLD_SIZE", "STOKER_STORE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    installed_plugins.cache_clear()
    yield module
    installed_plugins.cache_clear()


@pytest.fixture
def stoker(capfd: pytest.CaptureFixture[str]) -> Stoker:
    """Call the program; returns the exit code and all it said."""

    def call(*arguments: object) -> tuple[int, str]:
        try:
            code = invoke([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capfd.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return call


def with_tracker(write_recipe: Write, more: str = "", table: str = TABLE) -> Path:
    return write_recipe(replace={"[plugins.demo]\n": f"[plugins.demo]\n{table}{more}"})


def problems_of(path: Path, *overrides: str) -> dict[str, Problem]:
    return {problem.key: problem for problem in inspect_recipe(path, overrides)[1]}


def holds(folder: Path, text: str) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if text.encode() in path.read_bytes()]


# -- the value is used, the reference is shown ----------------------------------------------------


def test_a_recipe_uses_the_value_and_shows_the_reference(write_recipe: Write) -> None:
    recipe = load_recipe(with_tracker(write_recipe))
    assert recipe.plugins["tracker"]["token"] == TOKEN
    assert recipe.references == {"plugins.tracker.token": "TRACKER_TOKEN"}
    assert recipe.resolved()["plugins"]["tracker"]["token"] == "env:TRACKER_TOKEN"
    assert recipe.origins["plugins.tracker.token"] == "recipe.toml:20"
    assert TOKEN not in repr(recipe)
    assert recipe.conceal(f"no such token: {TOKEN}") == "no such token: env:TRACKER_TOKEN"


def test_the_fingerprint_does_not_depend_on_the_value(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_tracker(write_recipe)
    fingerprint = load_recipe(path).fingerprint()
    monkeypatch.setenv("TRACKER_TOKEN", "another")
    assert load_recipe(path).fingerprint() == fingerprint


def test_every_string_may_be_a_reference(write_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME_1", "named")
    monkeypatch.setenv("SOURCE", "demo:text")
    monkeypatch.setenv("SHAPE", "linear")
    replace = {'"good"': '"env:NAME_1"', '"demo:docstrings"': '"env:SOURCE"'}
    path = write_recipe(replace={**replace, "[plugins.demo]\n": f"[plugins.demo]\n{TABLE}"})
    recipe = load_recipe(
        path, ["train.schedule=env:SHAPE", 'plugins.tracker.spare_tokens=["env:NAME_1"]']
    )
    assert (recipe.run.name, recipe.data.train[0].path, recipe.train.schedule) == (
        "named",
        "demo:text",
        "linear",
    )
    assert recipe.plugins["tracker"]["spare_tokens"] == ["named"]
    assert recipe.origins["train.schedule"] == "--set"
    assert recipe.resolved()["train"]["schedule"] == "env:SHAPE"
    assert recipe.resolved()["plugins"]["tracker"]["spare_tokens"] == ["env:NAME_1"]


@pytest.mark.parametrize(
    "text", ["env:", "env:1A", "env:A-B", "see env:TRACKER_TOKEN", "ENV:TRACKER_TOKEN"]
)
def test_other_texts_are_no_references(write_recipe: Write, text: str) -> None:
    recipe = load_recipe(with_tracker(write_recipe, f'project = "{text}"\n'))
    assert recipe.plugins["tracker"]["project"] == text
    assert "plugins.tracker.project" not in recipe.references


def test_an_empty_variable_is_set(write_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_TOKEN", "")
    assert load_recipe(with_tracker(write_recipe)).plugins["tracker"]["token"] == ""


def test_no_plugin_is_called_env(write_recipe: Write) -> None:
    assert plugin_of("env:MODEL") is None
    assert kind_of("env:MODEL") == "unclear"
    found = problems_of(write_recipe(replace={"[plugins.demo]": "[plugins.demo]\n[plugins.env]"}))
    assert found["plugins.env"].message == "no plugin can be called 'env'."


def test_a_relative_path_from_a_variable_is_relative_to_the_current_folder(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "rows.jsonl").write_text('{"text": "a"}\n')
    monkeypatch.setenv("ROWS", "rows.jsonl")
    monkeypatch.setenv("FOLDER", "made/of")
    source = '{ path = "env:ROWS", format = "text" }'
    path = write_recipe(
        name="recipes/recipe.toml",
        replace={
            '{ path = "demo:docstrings" }': source,
            "[plugins.demo]\n": f'{TABLE}folder = "env:FOLDER"\n[plugins.demo]\n',
        },
    )
    recipe = load_recipe(path)
    assert recipe.data.train[0].path == str(tmp_path / "here" / "rows.jsonl")
    assert recipe.plugins["tracker"]["folder"] == str(tmp_path / "here" / "made" / "of")
    write_lock(recipe, tmp_path / "lock")
    monkeypatch.chdir(tmp_path / "there")
    again = read_lock(tmp_path / "lock")
    assert again.data.train[0].path == str(tmp_path / "there" / "rows.jsonl")
    assert again.plugins["tracker"]["folder"] == str(tmp_path / "there" / "made" / "of")
    assert again.fingerprint() == recipe.fingerprint()


# -- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.schedule", "coseno", 'found the value of env:V, expected "constant", "linear"'),
        ("train.batch_size", "8", "found the value of env:V, expected an integer."),
        ("run.name", "Not A Name", "found the value of env:V, expected a string that matches"),
        ("model.path", "no/such/model/x", "'env:V' is no path that exists"),
        ("model.path", "./gone", "env:V does not exist."),
        ("model.path", "x!" * 40, "'env:V...' is no path that exists"),
        ("data.train.0.path", "here:there", "'env:V' needs a [plugins."),
        ("plugins.tracker.project", "do it!", "'env:V' has a mark in it."),
        ("plugins.demo.sample", "true", "found the value of env:V, expected a boolean."),
        ("plugins.tracker.server.port", "443", "found the value of env:V, expected an integer."),
    ],
)
def test_messages_do_not_show_the_value(
    write_recipe: Write,
    monkeypatch: pytest.MonkeyPatch,
    stoker: Stoker,
    key: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv("V", value)
    path = with_tracker(write_recipe)
    problem = problems_of(path, f"{key}=env:V")[key]
    assert message in problem.message
    code, said = stoker("check", path, "--set", f"{key}=env:V")
    assert code == 2
    assert value not in said


def test_numbers_are_led_to_set(write_recipe: Write) -> None:
    problem = problems_of(write_recipe(), "train.steps=env:TRACKER_TOKEN")["train.steps"]
    assert problem.hint == "The value of a variable is a string; give numbers with --set."


def test_a_value_is_found_in_all_its_spellings() -> None:
    value = 'a "quoted" \\ text\n' + "é" * 40
    shown = {value: "env:V", "ab": "env:SHORT"}
    for text in (value, repr(value), json.dumps(value), repr(f"{value[:37]}...")):
        assert "quoted" not in conceal(text, shown)
    assert conceal("ab about", shown) == "ab about"
    assert conceal("ab about", shown, at_least=1) == "env:SHORT about"


def test_a_value_that_is_no_text_is_told(write_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_TOKEN", "\udcff")
    problem = problems_of(with_tracker(write_recipe))["plugins.tracker.token"]
    assert problem.message == "the value of environment variable TRACKER_TOKEN is not UTF-8 text."


# -- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('token = "hunter2"', "token"),
        ("token = 1234567", "token"),
        (f'{TABLE.splitlines()[1]}\nspare_tokens = ["env:TRACKER_TOKEN", "hunter2"]', "spare_tokens.1"),
    ],
)
def test_a_secret_is_not_written_into_a_recipe(
    write_recipe: Write, stoker: Stoker, text: str, key: str
) -> None:
    path = with_tracker(write_recipe, table=f"[plugins.tracker]\n{text}\n")
    code, said = stoker("check", path)
    assert code == 2
    assert f"plugins.tracker.{key}: secrets are not written into recipes; write env:NAME." in said
    assert "hunter2" not in said
    assert "1234567" not in said


def test_a_secret_as_the_name_of_a_variable_is_noticed(write_recipe: Write) -> None:
    token = "hf_" + "a1B2" * 8
    found = problems_of(with_tracker(write_recipe, table=f'[plugins.tracker]\ntoken = "env:{token}"\n'))
    assert "looks like a secret" in found["plugins.tracker.token"].message


# -- variables that are not set -------------------------------------------------------------------


def test_check_warns_and_goes_on(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch, stoker: Stoker
) -> None:
    monkeypatch.delenv("TRACKER_TOKEN")
    path = with_tracker(write_recipe)
    problem = problems_of(path)["plugins.tracker.token"]
    assert problem.message == "environment variable TRACKER_TOKEN is not set here."
    assert problem.hint == "Set it where the run is started."
    assert (problem.line, problem.severity) == (20, "warning")
    code, said = stoker("check", path)
    assert (code, f"{path}: ok" in said, "warning:" in said) == (0, True, True)
    code, said = stoker("explain", path, "plugins.tracker.token")
    assert code == 0
    assert 'plugins.tracker.token = "env:TRACKER_TOKEN" from recipe.toml:20' in said


@pytest.mark.parametrize(
    "key",
    [
        "run.name",
        "run.directory",
        "model.path",
        "model.revision",
        "data.train.0.path",
        "data.train.0.format",
        "train.precision",
        "checkpoint.every",
        "plugins.tracker.project",
        "plugins.tracker.folder",
    ],
)
def test_what_is_not_known_is_no_mistake(write_recipe: Write, stoker: Stoker, key: str) -> None:
    path = with_tracker(write_recipe)
    recipe, problems = inspect_recipe(path, [f"{key}=env:NOT_SET"])
    assert [(problem.key, problem.severity) for problem in problems] == [(key, "warning")]
    assert recipe is not None
    code, said = stoker("run", path, "--set", f"{key}=env:NOT_SET", "--dry-run")
    assert code == 2
    assert f"{key}: environment variable NOT_SET is not set here." in said


def test_a_number_is_a_mistake_all_the_same(write_recipe: Write) -> None:
    found = problems_of(write_recipe(), "train.steps=env:NOT_SET")
    assert found["train.steps"].message == "found the value of env:NOT_SET, expected an integer."


def test_other_mistakes_are_still_told(write_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKER_TOKEN")
    found = problems_of(with_tracker(write_recipe, 'retries = "3"\n'), "train.batch_size=0")
    assert {key: problem.severity for key, problem in found.items()} == {
        "plugins.tracker.token": "warning",
        "plugins.tracker.retries": "error",
        "train.batch_size": "error",
    }


def test_a_plugin_that_is_switched_off_needs_no_variable(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACKER_TOKEN")
    recipe = load_recipe(with_tracker(write_recipe, "enabled = false\n"))
    assert recipe.references == {}
    assert recipe.resolved()["plugins"]["tracker"]["token"] == "env:TRACKER_TOKEN"


def test_run_names_every_variable_and_starts_nothing(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch, stoker: Stoker
) -> None:
    monkeypatch.delenv("TRACKER_TOKEN")
    code, said = stoker("run", with_tracker(write_recipe, 'project = "env:NOT_SET"\n'))
    assert code == 2
    assert "environment variable TRACKER_TOKEN is not set here." in said
    assert "environment variable NOT_SET is not set here." in said
    assert not Path("runs").exists()


def test_a_lock_needs_the_variables_of_this_machine(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "recipe.lock.json"
    write_lock(load_recipe(with_tracker(write_recipe)), lock)
    assert TOKEN not in lock.read_text()
    monkeypatch.setenv("TRACKER_TOKEN", "of-this-machine")
    assert read_lock(lock).plugins["tracker"]["token"] == "of-this-machine"
    monkeypatch.delenv("TRACKER_TOKEN")
    with pytest.raises(UsageError, match="TRACKER_TOKEN is not set here") as raised:
        read_lock(lock)
    assert "on every node" in raised.value.hint
    assert read_lock(lock, allow_unset=True).references == {"plugins.tracker.token": "TRACKER_TOKEN"}


def test_a_value_that_the_lock_cannot_take_is_not_shown(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERY", "5 steps")
    write_lock(load_recipe(write_recipe(), ["checkpoint.every=env:EVERY"]), tmp_path / "lock")
    monkeypatch.setenv("EVERY", "5 cows")
    with pytest.raises(UsageError, match="the value of env:EVERY is refused") as raised:
        read_lock(tmp_path / "lock")
    assert "cows" not in str(raised.value)


# -- changes of a run -----------------------------------------------------------------------------


def test_a_change_may_name_another_variable(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, key = tmp_path / "lock", "plugins.tracker.token"
    write_lock(load_recipe(with_tracker(write_recipe)), lock)
    monkeypatch.delenv("TRACKER_TOKEN")
    recipe = read_lock(lock, allow_unset=True)
    with pytest.raises(UsageError, match="NEW_TOKEN is not set"):
        change_recipe(recipe, [f"{key}=env:NEW_TOKEN"], [key])
    with pytest.raises(UsageError, match="secrets are not written into recipes"):
        change_recipe(recipe, [f"{key}=hunter2"], [key])
    with pytest.raises(UsageError, match="secrets are not written into recipes"):
        change_recipe(recipe, ['plugins={ tracker = { token = "hunter2" } }'], ["plugins"])
    monkeypatch.setenv("NEW_TOKEN", TOKEN)
    changed = change_recipe(recipe, [f"{key}=env:NEW_TOKEN"], [key])
    assert changed.plugins["tracker"]["token"] == TOKEN
    assert changed.resolved()["plugins"]["tracker"]["token"] == "env:NEW_TOKEN"
    assert changed.origins[key] == "--set"


def test_a_plugin_that_is_replaced_is_completed(write_recipe: Write) -> None:
    recipe = load_recipe(with_tracker(write_recipe))
    table = 'plugins.tracker={ token = "env:TRACKER_TOKEN", retries = 5 }'
    changed = change_recipe(recipe, [table], ["plugins.tracker"])
    assert changed.plugins["tracker"]["retries"] == 5
    assert changed.plugins["tracker"]["project"] == "runs"
    assert changed.origins["plugins.tracker.retries"] == "--set"
    assert changed.origins["plugins.tracker.project"] == "plugin:tracker"
    with pytest.raises(UsageError, match=r"plugins\.tracker\.retries") as raised:
        change_recipe(recipe, ["plugins.tracker.retries=env:TRACKER_TOKEN"], ["plugins.tracker.retries"])
    assert TOKEN not in str(raised.value)


# -- a run ----------------------------------------------------------------------------------------


def test_a_run_has_the_value_and_shows_it_nowhere(
    write_recipe: Write, tracker: Path, monkeypatch: pytest.MonkeyPatch, stoker: Stoker
) -> None:
    path = with_tracker(write_recipe, 'project = "do it"\n')
    few = ("--set", "train.steps=1", "--set", "train.batch_size=2", "--set", "data.sequence_length=256")
    code, said = stoker("run", path, *few, "--set", "plugins.demo.max_train_rows=8")
    assert code == 0, said
    run = RunDirectory(Path("runs/good").absolute())
    digest = sha256(TOKEN.encode()).hexdigest()
    assert notes(run) == [f"env:TRACKER_TOKEN {digest} 3"]
    assert TOKEN not in said
    assert holds(run.path, digest) != []
    assert holds(Path(), TOKEN) == []
    lock = json.loads(run.lock_path.read_text())
    assert lock["values"]["plugins"]["tracker"] == {
        "token": "env:TRACKER_TOKEN",
        "project": "do it",
        "spare_tokens": [],
        "retries": 3,
        "folder": None,
        "server": {"url": "https://tracker.invalid", "port": 443},
    }
    assert lock["origins"]["plugins.tracker.server.port"] == "plugin:tracker"
    assert lock["origins"]["plugins.tracker.project"] == "recipe.toml:21"

    # Another environment, and a newer version of the plugin.
    tracker.write_text(TRACKER.replace("retries: int = 3", "retries: int = 7"))
    more = ("resume", "good", "--set", "train.steps=2", "--allow-change", "train.steps")
    monkeypatch.delenv("TRACKER_TOKEN")
    code, said = stoker(*more)
    assert (code, "environment variable TRACKER_TOKEN is not set here" in said) == (2, True)
    assert run.read_record().attempt == 1
    monkeypatch.setenv("TRACKER_TOKEN", "another-token")
    code, said = stoker(*more)
    assert code == 0, said
    other = sha256(b"another-token").hexdigest()
    assert notes(run)[1:] == [f"env:TRACKER_TOKEN {other} 3"]


def test_a_rank_without_the_variable_says_so(
    write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(Path("runs"), "good", load_recipe(with_tracker(write_recipe)))
    monkeypatch.delenv("TRACKER_TOKEN")
    monkeypatch.setenv("STOKER_ATTEMPT", "1")
    command = [sys.executable, "-m", "stoker.train.worker", str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "plugins.tracker.token: environment variable TRACKER_TOKEN is not set" in done.stderr
    assert "Traceback" not in done.stderr
    (outcome,) = read_outcomes(run, 1)
    assert outcome.error is not None
    assert outcome.error.hint == "Set it where the run is started, on every node."


def notes(run: RunDirectory) -> list[str]:
    events = read_events(run.events_path)
    return [
        event["message"] for event in events if event["kind"] == "note" and "env:" in event["message"]
    ]

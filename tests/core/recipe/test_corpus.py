"""Recipes with mistakes: each is told on one screen, with its key and its line, and exits with 2."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from stoker import Plugin, hookimpl, registry
from stoker.cli import invoke
from stoker.cli.report import MAX_LINES, WIDTH
from stoker.recipe.data_checks import DataInspector
from stoker.recipe.loading import inspect_recipe
from stoker_tui.models.compose.document import Document

GOOD = """\
[run]
name = "good"

[model]
path = "demo:tiny-llama"
initial_weights = "random"

[data]
train = [{ path = "demo:docstrings" }]
sequence_length = 64

[train]
steps = 10
batch_size = 8
micro_batch_size = 2
learning_rate = 1e-3

[plugins.demo]
"""
SOURCE = '{ path = "demo:docstrings" }'
NAME = 'name = "good"'
PLUGINS = "[plugins.demo]\n"
TOKEN = "hf_" + "a1B2" * 8


@dataclass(frozen=True)
class Case:
    """One mistake. The recipe is GOOD with one text replaced, or a text of its own."""

    title: str
    key: str
    """The dotted key that must be named; empty for the file as a whole."""
    at: str
    """What the line that must be named contains; empty for the file as a whole."""
    old: str = ""
    new: str = ""
    says: str = ""
    """A part of the message or of the hint."""
    text: str | bytes | None = None
    files: dict[str, str | bytes] = field(default_factory=dict)
    """Further files; those whose name ends in `/` are folders."""
    where: str = "recipe.toml"
    """The file that is named."""
    overrides: tuple[str, ...] = ()

    def content(self) -> bytes:
        if isinstance(self.text, bytes):
            return self.text
        text = GOOD if self.text is None else self.text
        if self.old:
            assert text.count(self.old) == 1, self.title
            text = text.replace(self.old, self.new)
        return text.encode()


def run(title: str, new: str, key: str, says: str = "", at: str | None = None) -> Case:
    """A mistake in the line of `run.name`."""
    return Case(title, key, new.splitlines()[-1] if at is None else at, NAME, new, says)


def value(key: str, text: str, says: str) -> Case:
    """A key that is set to something it cannot be."""
    table, _, name = key.partition(".")
    line = f"{name} = {text}"
    kept = [each for each in GOOD.splitlines() if not each.startswith(f"{name} = ")]
    kept.insert(kept.index(f"[{table}]") + 1, line) if f"[{table}]" in kept else kept.extend(
        [f"[{table}]", line]
    )
    return Case(f"{key} = {shorten(text)}", key, line.splitlines()[0], text="\n".join(kept), says=says)


def option(key: str, text: str, says: str) -> Case:
    """An option of a plugin that is set to something it cannot be."""
    name, _, last = key.rpartition(".")
    line = f"{last} = {text}"
    header = f"[plugins.{name}]\n"
    case = PLUGINS if name == "demo" else PLUGINS + header
    return Case(
        f"plugins.{key} = {shorten(text)}", f"plugins.{key}", line, PLUGINS, f"{case}{line}\n", says
    )


def plugin(title: str, tables: str, key: str, says: str, at: str, **more: object) -> Case:
    """A mistake in plugins' tables."""
    return Case(title, key, at, PLUGINS, PLUGINS + tables + "\n", says, **more)  # type: ignore[arg-type]


def source(title: str, row: str, key: str, says: str, **files: str | bytes) -> Case:
    """A mistake in the data sources; `files` are made first, `__` in their names is a dot."""
    made = {name.replace("__", "."): content for name, content in files.items()}
    return Case(title, f"data.{key}", "train = [", SOURCE, row, says, files=made)


def content(title: str, data_format: str, name: str, text: str | bytes, says: str) -> Case:
    """A mistake in a data file."""
    row = f'{{ path = "{name}", format = "{data_format}" }}'
    return source(title, row, "train.0.path", says, **{name: text})


def override(text: str, key: str, says: str) -> Case:
    """A mistake on the command line."""
    return Case(f"--set {shorten(text)}", key, "", says=says, where="--set", overrides=(text,))


def syntax(title: str, old: str, new: str, says: str = "not valid TOML", at: str | None = None) -> Case:
    return Case(title, "", new.splitlines()[-1] if at is None else at, old, new, says)


def shorten(text: str) -> str:
    return text if len(text) < 40 else f"{text[:30]}..."


TYPOS = [
    value("run.nmae", '"x"', "Did you mean 'name'?"),
    value("run.sed", "1", "Did you mean 'seed'?"),
    value("run.dir", '"x"', "Its keys are name, seed, directory."),
    value("model.pth", '"x"', "Did you mean 'path'?"),
    value("model.revison", '"main"', "Did you mean 'revision'?"),
    value("model.trust_remote", "true", "Did you mean 'trust_remote_code'?"),
    value("model.intial_weights", '"random"', "Did you mean 'initial_weights'?"),
    value("data.seqence_length", "64", "Did you mean 'sequence_length'?"),
    value("data.evl", "[]", "Did you mean 'eval'?"),
    value("data.supervize", '"all"', "Did you mean 'supervise'?"),
    value("data.chat-template", '"x"', "Did you mean 'chat_template'?"),
    value("train.learning-rate", "1e-3", "Did you mean 'learning_rate'?"),
    value("train.lerning_rate", "1e-3", "Did you mean 'learning_rate'?"),
    value("train.Steps", "3", "Did you mean 'steps'?"),
    value("train.batchsize", "8", "Did you mean 'batch_size'?"),
    value("train.warm_up", "3", "Did you mean 'warmup'?"),
    value("train.scheduler", '"cosine"', "Did you mean 'schedule'?"),
    value("train.precison", '"bf16"', "Did you mean 'precision'?"),
    value("train.gradient_accumulation_steps", "4", "[train] has no key"),
    value("train.xyzzy", "1", "Its keys are epochs, steps,"),
    value("checkpoint.evry", '"5 min"', "Did you mean 'every'?"),
    value("checkpoint.keeep", "3", "Did you mean 'keep'?"),
    value("launch.gpus", "8", "Its keys are gpus_per_node, nodes, max_restarts,"),
    value("launch.node", "2", "Did you mean 'nodes'?"),
    source(
        "a typo in a source", '{ path = "demo:docstrings", wieght = 2 }', "train.0.wieght", "'weight'"
    ),
]
TABLES = [
    Case("a misspelt table", "trian", "[trian]", "[train]", "[trian]", "Did you mean 'train'?"),
    Case("an unknown table", "optimizer", "[optimizer]", "[train]", "[optimizer]\nlr = 1\n[train]"),
    Case("a table in upper case", "Run", "[Run]", "[run]", "[Run]", "Did you mean 'run'?"),
    Case("a key outside all tables", "steps", "steps = 3", "[run]", "steps = 3\n[run]", "into [train]"),
    value("run.steps", "3", "It belongs into [train]."),
    value("train.seed", "3", "It belongs into [run]."),
    value("train.nodes", "3", "It belongs into [launch]."),
    value("data.learning_rate", "3.0", "It belongs into [train]."),
    value("model.every", '"5 min"', "It belongs into [checkpoint]."),
    Case(
        "a plugin's table at the top",
        "lora",
        "[lora]",
        PLUGINS,
        "[lora]\n[plugins.demo]\n",
        "[plugins.lora]",
    ),
    Case("no table at all", "run", "", text="", says="the table [run] is missing"),
    Case("comments only", "model", "", text="# a recipe\n", says="the table [model] is missing"),
    Case("no [train]", "train", "", text=GOOD.partition("[train]")[0], says="[train] is missing"),
    Case(
        "no [data]",
        "data",
        "",
        GOOD[GOOD.index("[data]") : GOOD.index("[train]")],
        "",
        "[data] is missing",
    ),
    Case("no name", "run.name", "[run]", NAME, "seed = 1", "'name' is missing, expected a string"),
    Case("no learning rate", "train.learning_rate", "[train]", "learning_rate = 1e-3", "", "is missing"),
    Case("no model path", "model.path", "[model]", 'path = "demo:tiny-llama"', "", "is missing"),
    Case("no training data", "data.train", "[data]", f"train = [{SOURCE}]", "", "is missing"),
    Case(
        "a value for a table", "launch", "launch = 3", "[run]", "launch = 3\n[run]", "expected a table"
    ),
    Case("a string for a table", "train", 'train = "x"', text='train = "x"\n', says="expected a table"),
    Case("an array for a table", "run", "run = []", "[run]\n" + NAME, "run = []", "found an array"),
    Case("an array of tables for a table", "run", "[[run]]", "[run]", "[[run]]", "found an array"),
    Case("a table for an array", "data.train", "train = {", f"[{SOURCE}]", SOURCE, "expected an array"),
    Case(
        "a table for a value",
        "train.steps",
        "[train.steps]",
        text=GOOD.replace("steps = 10\n", "").replace(PLUGINS, "[train.steps]\nx = 1\n" + PLUGINS),
    ),
    Case(
        "an array for plugins",
        "plugins",
        "plugins = [",
        text='plugins = ["lora"]\n' + GOOD.replace(PLUGINS, ""),
        says="expected a table",
    ),
    Case(
        "a plugin as a value",
        "plugins.lora",
        "lora = true",
        PLUGINS,
        "[plugins]\nlora = true\ndemo = {}\n",
        "Write [plugins.lora]",
    ),
    Case(
        "a plugin as an array of tables",
        "plugins.lora",
        "[[plugins.lora]]",
        PLUGINS,
        PLUGINS + "[[plugins.lora]]\n",
        "found an array",
    ),
]
TYPES = [
    value("run.name", "3", "found the integer 3, expected a string"),
    value("run.name", "true", "found the boolean true, expected a string"),
    value("run.seed", '"0"', 'found the string "0", expected an integer'),
    value("run.seed", "0.5", "expected an integer"),
    value("run.directory", "[]", "found an array, expected a string"),
    value("model.path", '["a", "b"]', "found an array, expected a string"),
    value("model.trust_remote_code", '"yes"', "expected a boolean"),
    value("model.trust_remote_code", "1", "found the integer 1, expected a boolean"),
    value("model.revision", "1234567", "found the integer 1234567, expected a string"),
    value("data.train", '"rows.jsonl"', "expected an array"),
    Case(
        "a string among the sources",
        "data.train.0",
        "train = [",
        SOURCE,
        '"demo:docstrings"',
        "expected a table",
    ),
    value("data.sequence_length", "64.5", "expected an integer"),
    value("data.sequence_length", '"64"', "expected an integer"),
    value("data.eval_fraction", '"10%"', "expected a float"),
    value("train.steps", '"10"', "expected an integer"),
    value("train.steps", "10.5", "expected an integer"),
    value("train.steps", "true", "found the boolean true, expected an integer"),
    value("train.steps", "1979-05-27", "found the date-time 1979-05-27, expected an integer"),
    value("train.learning_rate", '"1e-3"', "expected a float"),
    value("train.learning_rate", "false", "found the boolean false"),
    value("train.warmup", '"3%"', "expected an integer or a float"),
    value("train.max_grad_norm", '"none"', "expected a float"),
    value("train.batch_size", "{ total = 8 }", "found a table, expected an integer"),
    value("train.batch_size", "[8]", "found an array, expected an integer"),
    value("checkpoint.every", "10", "expected a string"),
    value("launch.nodes", "07:32:00", "found the date-time 07:32:00"),
]
RANGES = [
    value("run.seed", "-1", "expected a number of at least 0"),
    value("run.seed", "9223372036854775808", "expected a number below"),
    value("run.seed", "9" * 400, "expected a number below"),
    value("model.path", '""', "at least 1 character"),
    value("model.initial_weights", '"radnom"', "Did you mean 'random'?"),
    value("data.train", "[]", "at least 1 item"),
    value("data.sequence_length", "7", "expected a number of at least 8"),
    value("data.eval_fraction", "0.6", "expected a number of at most 0.5"),
    value("data.supervise", '"everything"', 'expected "completion" or "all"'),
    source(
        "an unknown format", '{ path = "demo:text", format = "mesages" }', "train.0.format", "'messages'"
    ),
    source("a weight of 0", '{ path = "demo:docstrings", weight = 0 }', "train.0.weight", "above 0"),
    source(
        "a weight too large", '{ path = "demo:docstrings", weight = 1001 }', "train.0.weight", "1000"
    ),
    value("train.steps", "0", "expected a number of at least 1"),
    value("train.batch_size", "-8", "expected a number of at least 1"),
    value("train.micro_batch_size", "0", "expected a number of at least 1"),
    value("train.learning_rate", "0", "expected a number above 0"),
    value("train.learning_rate", "11.0", "expected a number of at most 10"),
    value("train.learning_rate", "nan", "found nan, expected a finite number"),
    value("train.learning_rate", "inf", "found inf, expected a finite number"),
    value("train.max_grad_norm", "-inf", "found -inf, expected a finite number"),
    value("train.weight_decay", "1.5", "expected a number of at most 1"),
    value("train.warmup", "-1", "of at least 0"),
    value("train.warmup", "1.5", "below 1"),
    value("train.decay", "0", "expected a number above 0"),
    value("train.max_grad_norm", "0", "expected a number above 0"),
    value("train.schedule", '"cosin"', "Did you mean 'cosine'?"),
    value("train.precision", '"fp8"', 'expected "bf16"'),
    value("train.log_every", "0", "expected a number of at least 1"),
    value("checkpoint.every", '"10 minutes"', 'a string like "200 steps"'),
    value("checkpoint.every", '"0 steps"', 'a string like "200 steps"'),
    value("checkpoint.keep", "0", "expected a number of at least 1"),
    value("launch.gpus_per_node", "65", "expected a number of at most 64"),
    value("launch.nodes", "-1", "expected a number of at least 1"),
    value("launch.max_restarts", "-1", "expected a number of at least 0"),
    value("launch.hang_seconds", "-1", "expected a number of at least 0"),
]
NAMES = [
    run("a path as a name", 'name = "../other"', "run.name", "matches"),
    run("an absolute name", 'name = "/etc/passwd"', "run.name", "matches"),
    run("a name with a folder", 'name = "a/b"', "run.name", "matches"),
    run("dots as a name", 'name = ".."', "run.name", "matches"),
    run("a hidden name", 'name = ".hidden"', "run.name", "matches"),
    run("an option as a name", 'name = "-rf"', "run.name", "matches"),
    run("a home as a name", 'name = "~root"', "run.name", "matches"),
    run("an empty name", 'name = ""', "run.name", "matches"),
    run("a long name", f'name = "{"a" * 65}"', "run.name", "matches"),
    run("a very long name", f'name = "{"a" * 5000}"', "run.name", "matches"),
    run("upper case", 'name = "Good"', "run.name", "matches"),
    run("a blank", 'name = "my run"', "run.name", "matches"),
    run("a backslash", r'name = "a\\b"', "run.name", "matches"),
    run("a line end in a name", r'name = "good\n"', "run.name", "matches"),
    run("a NUL in a name", r'name = "go\u0000od"', "run.name", "NUL"),
    run("an escape sequence", r'name = "\u001b[31mred"', "run.name", "matches"),
    run("a C1 control character", r'name = "\u009b31m"', "run.name", "matches"),
    run("a letter that looks like another", 'name = "g\u043e\u043ed"', "run.name", "matches"),
    run("a variable", 'name = "$HOME"', "run.name", "matches"),
    run("a NUL in a folder", f'{NAME}\ndirectory = "a\\u0000b"', "run.directory", "NUL"),
    Case(
        "a file as the runs folder",
        "run.directory",
        "directory =",
        NAME,
        f'{NAME}\ndirectory = "runs.txt"',
        "is a file",
        files={"runs.txt": "x"},
    ),
    Case(
        "a file above the runs folder",
        "run.directory",
        "directory =",
        NAME,
        f'{NAME}\ndirectory = "runs.txt/a/b"',
        "is a file",
        files={"runs.txt": "x"},
    ),
]
KEYS = [
    value("run." + "k" * 300, "1", "[run] has no key"),
    Case("a key with a line end", "run", r'"a\nb"', NAME, NAME + '\n"a\\nb" = 1', r"run.a\nb: [run]"),
    Case(
        "a key with an escape sequence",
        "run",
        r'"\u001b',
        NAME,
        NAME + '\n"\\u001b[31mred" = 1',
        r"run.\x1b[31mred: [run]",
    ),
    Case(
        "text that runs backwards",
        "run",
        r'"\u202e',
        NAME,
        NAME + '\n"\\u202etxet" = 1',
        r"run.\u202etxet: [run]",
    ),
    Case("an empty key", "run", '"" = 1', NAME, NAME + '\n"" = 1', "has no key ''"),
    Case("a key with a dot", "run", '"a.b" = 1', NAME, NAME + '\n"a.b" = 1', "has no key 'a.b'"),
    Case("an empty table name", "", '[""]', PLUGINS, '[""]\n' + PLUGINS, "has no table ''"),
    Case(
        "a table of a long name",
        "t" * 20,
        "[tttt",
        PLUGINS,
        f"[{'t' * 500}]\n" + PLUGINS,
        "has no table",
    ),
]
SYNTAX = [
    syntax("no quotes", NAME, "name = good"),
    syntax("an open string", NAME, 'name = "good', at='name = "good'),
    syntax("an open array", "sequence_length = 64", "x = [1, 2", at="[train]"),
    syntax("no value", NAME, "name =", at="name ="),
    syntax("no equals sign", NAME, "name good"),
    syntax("a colon", NAME, 'name: "good"'),
    syntax("a key twice", NAME, f"{NAME}\n{NAME}", at=NAME),
    syntax("a table twice", PLUGINS, "[run]\n", at=""),
    syntax("a table that is a value", "[data]", "[model.path]\n[data]", at=""),
    syntax("an open header", "[train]", "[train"),
    syntax("a wrong escape", NAME, r'name = "C:\data"'),
    syntax("python's True", NAME, f"{NAME}\nseed = True"),
    syntax("python's None", NAME, f"{NAME}\nseed = None"),
    syntax("a number with a unit", "steps = 10", "steps = 10k"),
    syntax("a leading zero", "steps = 10", "steps = 010"),
    syntax("a bare word after a value", "steps = 10", "steps = 10 # ten\nsteps 3"),
    syntax("YAML", "[run]", "run:", at="run:"),
    syntax("JSON", "[run]", '{"run": 1}'),
    syntax("a merge conflict", "[run]", "<<<<<<< HEAD\n[run]", at="<<<<<<<"),
    syntax("a control character", NAME, 'name = "go\x07od"'),
]
FILES = [
    Case("Latin-1", "", "", text=GOOD.replace("good", "caf\u00e9").encode("latin-1"), says="in line 2"),
    Case("UTF-16", "", "", text=GOOD.encode("utf-16"), says="not UTF-8"),
    Case("a binary file", "", "", text=bytes(range(256)) * 4, says="not UTF-8"),
    Case("NUL bytes", "", "", text=b"\0" * 100, says="not valid TOML"),
    Case("a file over the limit", "", "", text=b"# x\n" * 2_500_000, says="is larger than 1 MB"),
    Case("nested arrays", "", "", text="x = " + "[" * 5000 + "]" * 5000, says="nested too deeply"),
    Case(
        "nested tables", "", "", text="x = " + "{ a = " * 60 + "1" + " }" * 60, says="nested too deeply"
    ),
    Case("a deep key", "", "", text=".".join("a" * 300) + " = 1", says="nested too deeply"),
    Case(
        "many mistakes",
        "run.k0",
        "k0 =",
        NAME,
        NAME + "".join(f"\nk{n} = 1" for n in range(500)),
        "more; --json",
    ),
    Case(
        "many plugins",
        "plugins.p0",
        "[plugins.p0]",
        PLUGINS,
        PLUGINS + "".join(f"[plugins.p{n}]\n" for n in range(100)),
        "more; --json",
    ),
    Case(
        "many sources",
        "data.train.0",
        "train = [",
        SOURCE,
        ", ".join(["{ pth = 1 }"] * 300),
        "more; --json",
    ),
]
EXTENDS = [
    Case(
        "itself", "extends", "extends", text='extends = "recipe.toml"\n' + GOOD, says="extend each other"
    ),
    Case(
        "a circle",
        "extends",
        "extends",
        text='extends = "b.toml"\n',
        says="b.toml -> recipe.toml",
        files={"b.toml": 'extends = "recipe.toml"\n'},
        where="b.toml",
    ),
    Case(
        "a missing base",
        "extends",
        "extends",
        text='extends = "bsae.toml"\n',
        says="Did you mean 'base.toml'?",
        files={"base.toml": GOOD},
    ),
    Case(
        "a folder as a base",
        "extends",
        "extends",
        text='extends = "base"\n',
        says="is a directory",
        files={"base/": ""},
    ),
    Case(
        "a base that is no text",
        "extends",
        "extends",
        text='extends = "base.toml"\n',
        says="not UTF-8",
        files={"base.toml": b"\xff\xfe"},
    ),
    Case(
        "a base with wrong syntax",
        "",
        "name = good",
        text='extends = "base.toml"\n',
        says="not valid TOML",
        files={"base.toml": GOOD.replace('"good"', "good")},
        where="base.toml",
    ),
    Case(
        "a base with a typo",
        "train.stepps",
        "stepps",
        text='extends = "base.toml"\n',
        says="'steps'",
        files={"base.toml": GOOD.replace("steps", "stepps")},
        where="base.toml",
    ),
    Case("a base of another type", "extends", "extends", text="extends = 3\n", says="expected a string"),
    Case(
        "several bases",
        "extends",
        "extends",
        text='extends = ["a.toml", "b.toml"]\n',
        says="found an array",
    ),
    Case("an empty base", "extends", "extends", text='extends = ""\n', says="expected a string"),
    Case(
        "a NUL in a base", "extends", "extends", text='extends = "a\\u0000b"\n', says="expected a string"
    ),
    Case(
        "a base too large",
        "extends",
        "extends",
        text='extends = "base.toml"\n',
        says="larger than 1 MB",
        files={"base.toml": b"#\n" * 600_000},
    ),
    Case(
        "a chain too long",
        "extends",
        "extends",
        text='extends = "1.toml"\n',
        says="more than 8 recipes",
        files={f"{n}.toml": f'extends = "{n + 1}.toml"\n' for n in range(1, 9)},
        where="7.toml",
    ),
    Case(
        "extends inside a table",
        "run.extends",
        "extends",
        NAME,
        NAME + '\nextends = "base.toml"',
        "has no key 'extends'",
    ),
]
DATA = [
    source(
        "a missing file", '{ path = "rows.jsonl", format = "text" }', "train.0.path", "does not exist"
    ),
    source(
        "a misspelt file",
        '{ path = "./row.jsonl", format = "text" }',
        "train.0.path",
        "'rows.jsonl'",
        rows__jsonl="{}",
    ),
    source(
        "an empty file",
        '{ path = "rows.jsonl", format = "text" }',
        "train.0.path",
        "is empty",
        rows__jsonl="",
    ),
    source(
        "no data file",
        '{ path = "./notes.md", format = "text" }',
        "train.0.path",
        "is no data file",
        notes__md="x",
    ),
    source(
        "a folder without data",
        '{ path = "./folder", format = "text" }',
        "train.0.path",
        "no data file",
        **{"folder/": ""},
    ),
    source(
        "no format", '{ path = "rows.jsonl" }', "train.0.format", "'format' is missing", rows__jsonl="{}"
    ),
    source("no path", '{ format = "text" }', "train.0.path", "'path' is missing"),
    source("an empty path", '{ path = "", format = "text" }', "train.0.path", "at least 1 character"),
    source(
        "a path outside",
        '{ path = "../../../nowhere.jsonl", format = "text" }',
        "train.0.path",
        "not exist",
    ),
    source(
        "a URL",
        '{ path = "https://example.org/x", format = "text" }',
        "train.0.path",
        "no path that exists",
    ),
    source("a NUL in a path", r'{ path = "./a\u0000b.jsonl", format = "text" }', "train.0.path", "NUL"),
    source(
        "a long file name",
        f'{{ path = "./{"x" * 300}.jsonl", format = "text" }}',
        "train.0.path",
        "not exist",
    ),
    source(
        "an unknown source of a plugin",
        '{ path = "demo:docstring" }',
        "train.0.path",
        "'demo:docstrings'",
    ),
    source(
        "an unknown split",
        '{ path = "demo:docstrings", split = "evl" }',
        "train.0.split",
        "Did you mean 'eval'?",
    ),
    source(
        "a source of no plugin", '{ path = "dmo:docstrings" }', "train.0.path", "[plugins.dmo] table"
    ),
    source(
        "the second of two sources",
        f'{SOURCE}, {{ path = "x.jsonl", format = "text" }}',
        "train.1.path",
        "not exist",
    ),
    Case(
        "a source in lines of its own",
        "data.train.1.weight",
        "weight = 0",
        SOURCE,
        f"\n{SOURCE},\n{{ path = 'demo:text',\n weight = 0 }}",
        "above 0",
    ),
    Case(
        "an array of tables",
        "data.eval.0.splt",
        "splt =",
        "[train]",
        '[[data.eval]]\npath = "demo:text"\nsplt = "eval"\n\n[train]',
        "'split'",
    ),
    value("data.eval", '[{ path = "gone.jsonl", format = "text" }]', "does not exist"),
]
CHAT = '{"messages": [{"role": "%s", "content": "hi"}]}\n'
CONTENT = [
    content("a cut line", "text", "r.jsonl", '{"text": "a"}\n{"text":\n', "line 2: no JSON"),
    content("a line of words", "text", "r.jsonl", "hello\n", "line 1: no JSON: Expecting value"),
    content("an object over lines", "text", "r.jsonl", '{\n"text": "a"\n}\n', "one whole JSON object"),
    content("only white space", "text", "r.jsonl", "\n \n", "there is no row in it"),
    content("a line not in UTF-8", "text", "r.jsonl", b'{"text": "\xe9"}\n', "line 1: not UTF-8"),
    content("a line that is a list", "text", "r.jsonl", '["a"]\n', "must be a table of columns"),
    content("a misspelt column", "text", "r.jsonl", '{"txt": "a"}\n', "Rename 'txt' to 'text'."),
    content("another format", "completion", "r.jsonl", CHAT % "user", 'format = "messages"'),
    content("a number as text", "text", "r.jsonl", '{"text": 3}\n', "expected a string, found a number"),
    content("null as text", "text", "r.jsonl", '{"text": null}\n', "found nothing (null)"),
    content(
        "many columns",
        "text",
        "r.jsonl",
        json.dumps({"c" * 90 + str(number): 1 for number in range(99)}),
        "...",
    ),
    content("an unknown role", "messages", "r.jsonl", CHAT % "asistant", "Did you mean 'assistant'?"),
    content("a long role", "messages", "r.jsonl", CHAT % ("x" * 5000), "role must be one of"),
    content("no message", "messages", "r.jsonl", '{"messages": []}\n', "found an empty list"),
    content(
        "an unknown speaker", "sharegpt", "r.jsonl", '{"conversations": [{"from": "humam"}]}', "'human'?"
    ),
    content(
        "a list that goes wrong", "text", "r.json", '[{"text": "a"},\n{"text" "b"}]', "line 2, column 9"
    ),
    content("a list without rows", "text", "r.json", "[]", "there is no row in it"),
    content("a list that never ends", "text", "r.json", '[{"text": "a"},', "line 1, column 16: no JSON"),
    content("a CSV row too short", "completion", "r.csv", "prompt,completion\na\n", "row 1: 1 cells"),
    content("a CSV without rows", "text", "r.csv", "text\n", "there is no row in it"),
    content("a CSV without the column", "text", "r.csv", "a,b\n1,2\n", "column 'text' is missing"),
    content("a CSV not in UTF-8", "text", "r.csv", b"text\na\n\xe9\n", "line 3: not UTF-8"),
    content("a text not in UTF-8", "text", "r.txt", b"a\n\xff", "line 2: not UTF-8"),
    content("a text of a chat", "messages", "r.txt", "hi", "columns found: text"),
    content("no Parquet", "text", "r.parquet", "no", "no Parquet file"),
    Case(
        "more bad rows than allowed",
        "data.train.0.path",
        "train = [",
        SOURCE,
        '{ path = "r.jsonl", format = "text" }]\non_bad_row = "skip"\neval = [',
        "at most 1.0% may be: data.max_bad_share",
        files={"r.jsonl": '{"txt": "a"}\n{"txt": "b"}\n'},
    ),
    value("data.sequence_length", "2000", "more than the 1,024 positions"),
    value("data.on_bad_row", '"skp"', "Did you mean 'skip'?"),
    value("data.max_bad_share", "2", "at most 1"),
    value("data.chat_template", '"chat.jinja"', "does not exist"),
    value("data.chat_template", '"{% for m in %}"', "line 1: Expected an expression"),
    value("data.chat_template", '"{{ messages"', "must be a Jinja template"),
]
MODELS = [
    value("model.path", '"./llama"', "does not exist"),
    value("model.path", '"models/llama/8b"', "is no path that exists"),
    value("model.path", '"demo:tiny-lama"', "Did you mean 'demo:tiny-llama'?"),
    value("model.path", f'"{"a/" * 200}"', "is no path that exists"),
    value("model.path", f'"{"a" * 200}:b"', "needs a [plugins.aaa"),
    value("model.path", '"quant:tiny"', "needs a [plugins.quant] table"),
    Case(
        "a file as a model",
        "model.path",
        '"./m"',
        '"demo:tiny-llama"',
        '"./m"',
        "is a file",
        files={"m": "x"},
    ),
    Case(
        "a folder that is no model",
        "model.path",
        '"./m"',
        '"demo:tiny-llama"',
        '"./m"',
        "no config.json",
        files={"m/": ""},
    ),
    Case(
        "an adapter as a model",
        "model.path",
        '"./m"',
        '"demo:tiny-llama"',
        '"./m"',
        "is an adapter",
        files={"m/adapter_config.json": "{}"},
    ),
    Case(
        "no weights",
        "model.path",
        'path = "demo:tiny-llama"',
        'initial_weights = "random"\n',
        "",
        "no pretrained weights",
    ),
    Case(
        "code of no commit",
        "model.trust_remote_code",
        "trust_remote_code",
        '"demo:tiny-llama"',
        '"a/b"\ntrust_remote_code = true',
        "40 hex digits",
    ),
    Case(
        "code of a branch",
        "model.revision",
        "revision",
        '"demo:tiny-llama"',
        '"a/b"\ntrust_remote_code = true\nrevision = "main"',
        "40 hex digits",
    ),
]
SECRETS = [
    value("model.revision", f'"{TOKEN}"', "looks like a secret"),
    value("model.path", '"sk-' + "a1" * 12 + '"', "looks like a secret"),
    value("data.chat_template", '"ghp_' + "a1" * 12 + '"', "looks like a secret"),
    value("run.directory", '"AKIA' + "A1" * 8 + '"', "looks like a secret"),
    value("run.token", f'"{TOKEN}"', "looks like a secret"),
    option("demo.sample_question", f'"{TOKEN}"', "write env:NAME"),
    source(
        "a secret in a path", f'{{ path = "{TOKEN}/x", format = "text" }}', "train.0.path", "a secret"
    ),
    override(f"model.revision={TOKEN}", "model.revision", "looks like a secret"),
]
COMBINATIONS = [
    Case(
        "steps and epochs", "train", "[train]", "steps = 10", "steps = 10\nepochs = 1", "exactly one of"
    ),
    Case("neither steps nor epochs", "train", "[train]", "steps = 10\n", "", "exactly one of"),
    Case(
        "a micro-batch too large",
        "train.micro_batch_size",
        "micro_batch_size",
        "micro_batch_size = 2",
        "micro_batch_size = 16",
        "more than train.batch_size",
    ),
    value("train.evaluate_every", "5", "nothing to evaluate on"),
    plugin(
        "stopping on what is not measured",
        "[plugins.early_stopping]",
        "plugins.early_stopping.metric",
        "start and the end only",
        "[plugins.early_stopping]",
    ),
    plugin(
        "an adapter that is none",
        '[plugins.lora]\nstart_from = "./adapter"',
        "plugins.lora.start_from",
        "is no PEFT adapter",
        "start_from",
    ),
    plugin(
        "an adapter of another rank",
        '[plugins.lora]\nrank = 4\nstart_from = "./a"',
        "plugins.lora.start_from",
        "r = 8",
        "start_from",
        files={
            "a/adapter_config.json": '{"r": 8, "lora_alpha": 32}',
            "a/adapter_model.safetensors": "x",
        },
    ),
]
PLUGIN_TABLES = [
    plugin(
        "an unknown plugin",
        "[plugins.lorra]",
        "plugins.lorra",
        "Did you mean 'lora'?",
        "[plugins.lorra]",
    ),
    plugin(
        "a plugin of a long name",
        f"[plugins.{'p' * 300}]",
        "plugins.ppp",
        "no plugin called",
        "[plugins.p",
    ),
    plugin(
        "a plugin of no likeness",
        "[plugins.qqq]",
        "plugins.qqq",
        "`stoker plugins` lists",
        "[plugins.qqq]",
    ),
    plugin(
        "an unknown plugin, off",
        "[plugins.lorra]\nenabled = false",
        "plugins.lorra",
        "'lora'",
        "[plugins.lorra]",
    ),
    plugin(
        "a dash for an underscore",
        "[plugins.early-stopping]",
        "plugins.early-stopping",
        "'early_stopping'",
        "[plugins.early-",
    ),
    plugin(
        "no patterns", "[plugins.freeze]", "plugins.freeze.patterns", "is missing", "[plugins.freeze]"
    ),
    Case(
        "a plugin that is off but needed",
        "model.path",
        'path = "demo:tiny-llama"',
        PLUGINS,
        PLUGINS + "enabled = false\n",
        "[plugins.demo] table",
    ),
    option("lora.enabled", '"no"', "expected a boolean"),
    option("lora.r", "8", "[plugins.lora] has no key 'r'"),
    option("lora.rnk", "8", "Did you mean 'rank'?"),
    option("lora.rank", '"8"', "expected an integer"),
    option("lora.rank", "0", "of at least 1"),
    option("lora.alpha", "0", "above 0"),
    option("lora.alpha", "nan", "finite number"),
    option("lora.dropout", "1.0", "below 1"),
    option("lora.targets", '"all"', 'expected "all-linear"'),
    option("lora.targets", "[1]", "expected"),
    option("lora.rslora", "1", "expected a boolean"),
    option("lora.dora", '"true"', "expected a boolean"),
    option("lora.modules_to_save", '"lm_head"', "expected an array"),
    option("lora.start_from", "3", "expected a string"),
    option("freeze.patterns", '"embed"', "expected an array"),
    option("freeze.patterns", "[]", "at least 1 item"),
    option("freeze.except_patterns", "{}", "expected an array"),
    option("early_stopping.patience", "0", "of at least 1"),
    option("early_stopping.mode", '"mim"', "Did you mean 'min'?"),
    option("early_stopping.metric", "1", "expected a string"),
    option("early_stopping.min_delta", "-0.1", "of at least 0"),
    option("early_stopping.patients", "3", "Did you mean 'patience'?"),
    option("demo.max_train_rows", "0", "of at least 1"),
    option("demo.max_eval_rows", "1.5", "expected an integer"),
    option("demo.longest_answer", "19", "of at least 20"),
    option("demo.sample", "0", "expected a boolean"),
    option("demo.sample_tokens", "1001", "of at most 1000"),
    option("demo.sample_question", "[]", "expected a string"),
    option("demo.rows", "3", "[plugins.demo] has no key 'rows'"),
]
OVERRIDES = [
    override("train.stepps=3", "train.stepps", "Did you mean 'steps'?"),
    override("train.steps=ten", "train.steps", 'found the string "ten"'),
    override("train.steps", "", "expected KEY=VALUE"),
    override("=3", "", "expected KEY=VALUE"),
    override("train..steps=3", "", "expected KEY=VALUE"),
    override("train.steps.x=3", "train.steps.x", "train.steps is the integer 10, not a table"),
    override("data.train.4.weight=2", "data.train.4.weight", "is an array of 1, counted from 0"),
    override("data.train=[]", "data.train", "at least 1 item"),
    override("run.name=../x", "run.name", "matches"),
    override("plugins.lora.rank=0", "plugins.lora.rank", "of at least 1"),
    override("x" * 3000, "", "expected KEY=VALUE"),
    override("k" * 3000 + "=1", "kkkk", "a recipe has no key"),
    override("train.learning_rate=inf", "train.learning_rate", "finite number"),
    override("plugins.nothing.x=1", "plugins.nothing", "no plugin called"),
]
OTHER_PLUGINS = [
    plugin(
        "a conflict",
        "[plugins.whole]\n[plugins.lora]",
        "plugins.whole",
        "with 'lora'",
        "[plugins.whole]",
    ),
    plugin(
        "a plugin that lacks another",
        "[plugins.needy]",
        "plugins.needy",
        "needs 'engine'",
        "[plugins.needy]",
    ),
    plugin("no import", "[plugins.broken]", "plugins.broken", "failed to import", "[plugins.broken]"),
    plugin("no plugin", "[plugins.odd]", "plugins.odd", "is not a class derived", "[plugins.odd]"),
    plugin("no hook", "[plugins.hooky]", "plugins.hooky", "which is no hook", "[plugins.hooky]"),
]
# PATH is set wherever these run.
ENVIRONMENT = [
    value("train.steps", '"env:PATH"', "found the value of env:PATH, expected an integer"),
    value("train.learning_rate", '"env:NOT_SET"', "give numbers with --set"),
    value("run.name", '"env:PATH"', "found the value of env:PATH, expected a string that matches"),
    value("train.precision", '"env:PATH"', 'found the value of env:PATH, expected "bf16"'),
    value("model.path", '"env:2"', "'env:2' is no path that exists"),
    source(
        "a format from a variable", '{ path = "a/b", format = "env:PATH" }', "train.0.format", "env:PATH"
    ),
    option("demo.sample", '"env:PATH"', "found the value of env:PATH, expected a boolean"),
    plugin(
        "a plugin called env", "[plugins.env]", "plugins.env", "no plugin can be called", "[plugins.env]"
    ),
    override("train.steps=env:PATH", "train.steps", "found the value of env:PATH"),
]
CASES = [
    *(TYPOS + TABLES + TYPES + RANGES + NAMES + KEYS + SYNTAX + FILES + EXTENDS + DATA + CONTENT),
    *MODELS,
    *(SECRETS + COMBINATIONS + PLUGIN_TABLES + OTHER_PLUGINS + OVERRIDES + ENVIRONMENT),
]


class Whole(Plugin):  # type: ignore[type-arg]
    """Does not go with adapters."""

    conflicts_with = ("adapter",)


class Needy(Plugin):  # type: ignore[type-arg]
    """Wants what nobody provides."""

    requires = ("engine",)


class Hooky(Plugin):  # type: ignore[type-arg]
    """Implements what is not called."""

    @hookimpl
    def on_trian_start(self) -> None: ...


@pytest.fixture(autouse=True)
def other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """More installed plugins: some do not go with others, some do not load."""
    module = type(sys)("other_plugins")
    module.__dict__.update(Whole=Whole, Needy=Needy, Hooky=Hooky, Odd=dict)
    monkeypatch.setitem(sys.modules, "other_plugins", module)
    points = {
        name: EntryPoint(name, f"other_plugins:{name.title()}", registry.ENTRY_POINT_GROUP)
        for name in ("whole", "needy", "hooky", "odd", "broken")
    }
    installed = {**registry.installed_plugins(), **points}
    for name in ("stoker.registry", "stoker.recipe.plugin_tables", "stoker.recipe.loading"):
        monkeypatch.setattr(f"{name}.installed_plugins", lambda: installed)


def prepare(case: Case, folder: Path) -> list[str]:
    """Write the case's files; returns the arguments."""
    for name, content in case.files.items():
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "recipe.toml").write_bytes(case.content())
    overrides = [part for each in case.overrides for part in ("--set", each)]
    return ["check", "recipe.toml", *overrides]


def expected_line(case: Case, folder: Path) -> int:
    """The number of the last line that contains what the case names; 0 if it names none."""
    if not case.at or case.where == "--set":
        return 0
    lines = (folder / case.where).read_text().split("\n")
    found = [number for number, line in enumerate(lines, 1) if case.at in line]
    assert found, f"no line contains {case.at!r}"
    return found[-1]


def verify(case: Case, code: int, output: str, errors: str, line: int) -> None:
    assert code == 2
    assert output == ""
    said = errors.splitlines()
    assert 0 < len(said) <= MAX_LINES
    # A path is to be copied and stays whole; nothing else is longer than the screen is wide.
    assert [each for each in said if len(each) > WIDTH and "/" not in each.split()[0]] == []
    assert "Traceback" not in errors
    assert all(character.isprintable() for each in said for character in each)
    text = " ".join(errors.split())
    assert case.says in text
    # Of a name that fills a line the beginning is enough.
    assert case.key[:60] in text
    place = f"{case.where}:{line}:" if line else f"{case.where}:"
    assert place in text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_mistake_is_told(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = prepare(case, tmp_path)
    with pytest.raises(SystemExit) as ended:
        invoke(arguments)
    printed = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    verify(case, code, printed.out, printed.err, expected_line(case, tmp_path))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_fix_mends_the_mistake(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(case, tmp_path)
    path = Path("recipe.toml")
    _, problems = inspect_recipe(path, case.overrides, DataInspector())
    # Two cases make one mistake some hundred times.
    for problem in [problem for problem in problems if problem.fix is not None][:20]:
        assert problem.fix is not None
        document = Document.open(path, case.overrides)
        before = document.text
        document.apply(problem.fix.as_dict())
        _, left = inspect_recipe(path, case.overrides, DataInspector(), text=document.text)
        told = [(each.key, each.message) for each in left]
        assert (problem.key, problem.message) not in told, (problem.fix.title, document.text)
        assert document.undo() == problem.fix.as_dict()["title"]
        assert document.text == before


def test_most_mistakes_have_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fixable = 0
    for number, case in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        prepare(case, folder)
        monkeypatch.chdir(folder)
        _, problems = inspect_recipe(Path("recipe.toml"), case.overrides, DataInspector())
        fixable += any(problem.fix is not None for problem in problems)
    assert fixable >= len(CASES) // 3


@pytest.mark.parametrize("case", [TYPOS[0], SYNTAX[0], FILES[1]], ids=lambda case: case.title)
def test_a_mistake_is_told_by_the_program_too(case: Case, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stoker", *prepare(case, tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    verify(case, done.returncode, done.stdout, done.stderr, expected_line(case, tmp_path))


def lock(monkeypatch: pytest.MonkeyPatch, locked: Path) -> None:
    """Make a file unreadable to everybody, root too, whom its mode would not keep out."""
    real_open = Path.open

    def guarded_open(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if path.name == locked.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", guarded_open)


@pytest.mark.parametrize("name", ["gone.toml", "folder", "locked.toml", "a" * 300, "good.tml"])
def test_a_recipe_that_cannot_be_read_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("good.toml").write_text(GOOD)
    Path("locked.toml").write_text(GOOD)
    lock(monkeypatch, Path("locked.toml"))
    with pytest.raises(SystemExit) as ended:
        invoke(["check", name])
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert errors.startswith(f"{name}:")
    assert "permissions" not in errors or name == "locked.toml"
    assert "Traceback" not in errors


def test_the_corpus_is_large_and_its_base_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text(GOOD)
    assert invoke(["check", "recipe.toml"]) == 0
    assert len(CASES) >= 150
    assert len({case.title for case in CASES}) == len(CASES)

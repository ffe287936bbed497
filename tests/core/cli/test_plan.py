"""`stoker plan`: text, JSON, exit codes that CI can act on, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from jsonschema import Draft202012Validator

from stoker.cli import invoke as stoker
from stoker.cli.plan import command
from stoker.plan.machine import MachineFacts, write_machine
from stoker.testing.tiny import tiny_config, write_tiny_model

REPOSITORY = Path(__file__).parents[3]
SCHEMA = json.loads((REPOSITORY / "docs/schemas/stoker-plan.json").read_text())

RECIPE = """\
[run]
name = "planned"
[model]
path = "llama-3-8b"
[data]
train = [{ path = "rows.jsonl", format = "completion" }]
sequence_length = 512
[train]
epochs = 2
batch_size = 16
micro_batch_size = 1
learning_rate = 1e-4
[plugins.lora]
"""
H100 = ("--gpu", "h100-80gb")
HUB = 'data.train=[{path="someone/rows", format="text"}]'
"""Data that nobody has counted."""


@pytest.fixture(autouse=True)
def recipe(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with its data, on a machine without a GPU, a cache and prices of the user's."""
    monkeypatch.setenv("STOKER_CACHE", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    row = json.dumps({"prompt": "x" * 400, "completion": "y" * 400})
    (home / "rows.jsonl").write_text(f"{row}\n" * 1000)
    path = home / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def plan(invoke: Any) -> Any:
    """Call the command for the recipe."""
    return lambda *options: invoke(command, "recipe.toml", *options)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Exit code and standard error of the whole command line, as a shell sees them."""

    def run(*options: object) -> tuple[int, str]:
        try:
            code = stoker(["plan", "recipe.toml", *map(str, options)])
        except SystemExit as left:
            code = int(left.code or 0)
        return code, " ".join(capsys.readouterr().err.split())

    return run


def parsed(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_text_says_what_a_gpu_holds_how_long_it_takes_and_what_it_costs(plan: Any) -> None:
    result = plan(*H100, "--price", 2)
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines[0] == "planned: llama-3-8b, 8.03 B parameters, lora, bf16_mixed, on 1 x h100-80gb"
    text = result.stdout
    for words in (
        "  weights              16.2 GB",
        "of 84.9 GB: fits",
        "125 steps of",
        "tokens/s",
        "padding left out",
        "cost: $",
        "$2 per GPU-hour at given",
        "data: about 1,000 rows an epoch",
        "rows at 4.4 bytes a token, ± 25%; `--count` tokenises",
    ):
        assert words in text, words


def test_json_is_one_document_whatever_is_asked_for(plan: Any) -> None:
    found = parsed(plan(*H100, "--json", "--explain", "--price", 2))
    Draft202012Validator(SCHEMA).validate(found)
    assert found["fits"] is True
    assert found["steps"] == 125
    assert found["per_gpu"]["total"] < found["per_gpu"]["capacity"]
    low, mid, high = (found["cost_usd"][end] for end in ("low", "mid", "high"))
    assert 0 < low < mid < high
    assert mid == pytest.approx(2 * found["hours"]["mid"])
    assert {formula["name"] for formula in found["formulas"]} >= {"weights", "total", "cost"}


def test_explain_puts_numbers_into_formulas(plan: Any) -> None:
    text = plan(*H100, "--explain").stdout
    assert "\nformulas\n" in text
    assert "frozen x 2 B" in text


def test_without_a_gpu_it_is_about_this_machine(plan: Any) -> None:
    found = parsed(plan("--json", "--set", "model.path=llama-3.2-1b"))
    assert (found["gpu"], found["gpus"], found["cost_usd"]) == ("cpu", 1, None)


def test_the_recipe_says_how_many_gpus_and_options_change_that(plan: Any) -> None:
    launch = ("--set", "launch.gpus_per_node=4", "--set", "launch.nodes=2", "--json", *H100)
    for options, expected in (((), (8, 2)), (("--nodes", "1"), (4, 1)), (("--gpus", "2"), (2, 2))):
        found = parsed(plan(*launch, *options))
        assert (found["gpus"], found["nodes"]) == expected


def test_a_machine_that_was_measured_is_believed(plan: Any, home: Path) -> None:
    before = parsed(plan("--json"))
    write_machine(MachineFacts("cpu", 7.0, {"2": 1e13, "4": 1e13}, 1e12))
    after = parsed(plan("--json"))
    assert after["calibration"]["machine"] == 7.0
    assert after["step_seconds"]["mid"] < before["step_seconds"]["mid"] / 5
    assert any("a measurement of this machine" in said for said in after["assumptions"])


# -- exit codes -----------------------------------------------------------------------------------


def test_what_fits_and_is_cheap_and_quick_enough_is_0(said: Any) -> None:
    limits = ("--assert-fits", "--max-usd", 1000, "--max-hours", 1000, "--price", 2)
    assert said(*H100, *limits) == (0, "")


def test_what_does_not_fit_is_3_where_that_is_asked(said: Any) -> None:
    assert said("--gpu", "t4-16gb", "--set", "train.precision=fp16_mixed")[0] == 0
    code, error = said(
        "--gpu", "t4-16gb", "--set", "train.precision=fp16_mixed", "--assert-fits", "--max-usd", 0
    )
    assert code == 3
    assert "planned does not fit on t4-16gb: it needs " in error
    assert "`stoker plan --compare` shows what fits" in error


@pytest.mark.parametrize(("option", "key"), [("--max-usd", "cost_usd"), ("--max-hours", "hours")])
def test_a_limit_is_kept_by_the_upper_end_of_the_range(
    plan: Any, said: Any, option: str, key: str
) -> None:
    span = parsed(plan(*H100, "--price", 2, "--json"))[key]
    between = (span["mid"] + span["high"]) / 2
    code, error = said(*H100, "--price", 2, option, between)
    assert code == 4
    assert "more than" in error
    assert said(*H100, "--price", 2, option, span["high"] * 1.01)[0] == 0


def test_what_is_not_known_keeps_no_limit(said: Any) -> None:
    code, error = said("--max-usd", 1e6)
    assert code == 4
    assert "nobody can say that the run will cost at most" in error
    assert "--price" in error
    assert said(*H100, "--set", HUB, "--max-hours", 1e6)[0] == 4


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gpu", "h100-80g"), "no GPU 'h100-80g' is known. Did you mean 'h100-80gb'"),
        (("--gpu", "a100"), "may be a100-40gb or a100-80gb"),
        (("--set", "model.path=lama-3-8b"), "Did you mean 'llama-3-8b'"),
        (("--gpus", "0"), "--gpus 0: a plan needs at least one"),
        (("--nodes", "0"), "--nodes 0: a plan needs at least one"),
        (("--gpus", "3", "--nodes", "2"), "3 GPUs cannot be spread evenly over 2 nodes"),
        ((*H100, "--price", "0"), "A price is more than 0"),
        ((*H100, "--price", "-1"), "A price is more than 0"),
        ((*H100, "--price", "nan"), "A price is more than 0"),
        ((*H100, "--provider", "awz"), "no prices of a provider 'awz'. Did you mean 'aws'"),
        (("--max-usd", "-1"), "--max-usd -1: a limit is at least 0"),
        (("--max-hours", "nan"), "--max-hours nan: a limit is at least 0"),
        (("--prices", "none.toml"), "none.toml: cannot be read as prices"),
        (("--compare", "--assert-fits"), "--assert-fits does nothing with --compare"),
        (("--profile", "seed", "--explain"), "--explain does nothing with --profile"),
        (("--price", "1", "--provider", "aws"), "--provider does nothing with --price"),
        (("--limit", "3"), "--limit does nothing without --compare"),
        (("--profile", "seed", *H100, "--set", "model.path=gpt2"), "does not end in"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_2_with_what_to_do(said: Any, options: tuple[str, ...], words: str) -> None:
    code, error = said(*options)
    assert code == 2, error
    assert words in error


def test_a_model_folder_without_config_is_2(said: Any, home: Path) -> None:
    (home / "empty").mkdir()
    code, error = said("--set", "model.path=./empty")
    assert code == 2
    assert "config.json" in error


def prices(home: Path, rows: str) -> Path:
    path = home / "prices.toml"
    path.write_text(rows)
    return path


def test_prices_that_are_none_are_left_out_with_a_warning(plan: Any, home: Path) -> None:
    rows = '[[prices]]\nprovider = "me"\ngpu = "h100-80gb"\non_demand = 3.0\nspot = 4.0\n'
    rows += 'as_of = "2026-11"\n[[prices]]\nprovider = "me"\ngpu = "h200-141gb"\non_demand = 0\n'
    path = prices(home, rows + 'as_of = "2026-11"\n')
    found = parsed(plan(*H100, "--prices", path, "--json"))
    assert found["prices"][0]["usd_per_gpu_hour"]["mid"] == 3.0
    assert all(not price["spot"] or price["provider"] != "me" for price in found["prices"])
    warnings = "\n".join(found["findings"])
    assert "a spot price of 4.0 is not below 3.0 on demand; it is ignored" in warnings
    assert "a price of 0 is no price; it is ignored" in warnings


def test_another_currency_is_2(said: Any, home: Path) -> None:
    row = '[[prices]]\nprovider = "me"\ngpu = "h100-80gb"\non_demand = 3.0\nas_of = "2026"\n'
    code, error = said(*H100, "--prices", prices(home, f'currency = "EUR"\n{row}'))
    assert code == 2
    assert "prices are in USD, not 'EUR'. Convert them first." in error


# -- compare and seed -----------------------------------------------------------------------------


def test_a_comparison_ranks_what_fits(plan: Any) -> None:
    result = plan("--compare", "--limit", 5)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["GPUs", "engine", "checkpointing"]
    assert "combinations fit, the best by cost are shown" in result.stdout
    best = parsed(plan("--compare", "--limit", 5, "--json"))["candidates"]
    costs = [candidate["cost_usd"] for candidate in best]
    assert len(costs) == 5
    assert costs == sorted(costs)
    quickest = parsed(plan("--compare", "--by", "time", "--json"))["candidates"]
    assert quickest[0]["fastest"]
    assert quickest[0]["hours"] <= best[0]["hours"]


def test_the_price_that_is_given_is_compared_with_what_others_ask(plan: Any) -> None:
    cheap = parsed(plan("--compare", *H100, "--price", 0.01, "--limit", 1, "--json"))
    dear = parsed(plan("--compare", *H100, "--price", 1, "--limit", 1, "--json"))
    ratio = dear["candidates"][0]["cost_usd"] / cheap["candidates"][0]["cost_usd"]
    assert ratio == pytest.approx(100)
    recipe = ("--set", "plugins.cost.usd_per_gpu_hour=2.5", "--json")
    kinds = {each["gpu"] for each in parsed(plan("--compare", *recipe))["candidates"]}
    assert "cpu" not in kinds


def test_where_nothing_fits_a_comparison_says_so(plan: Any) -> None:
    long = ("--set", "data.sequence_length=1000000", "--set", HUB)
    text = plan("--compare", *long, "--gpu", "rtx-3090", "--gpus", 1).stdout
    assert text.startswith("0 of ")
    assert "combinations fit: try other GPUs" in text
    assert (
        "train.batch_size = 16 cannot be shared evenly by 3 GPUs"
        in plan("--compare", "--gpus", 3).stdout
    )


def test_the_guide_s_numbers_are_a_profile(plan: Any, said: Any) -> None:
    seed = ("--profile", "seed", "--gpu", "a100-80gb", "--set", "plugins.lora.enabled=false")
    text = plan(*seed).stdout
    assert text.startswith("the guide's numbers for 1 x a100-80gb")
    found = parsed(plan(*seed, "--json"))
    assert found["per_gpu"]["weights"] == 16_000_000_000
    code, error = said(*seed, "--assert-fits")
    assert code == 3
    assert "planned does not fit on a100-80gb" in error


# -- heavy children -------------------------------------------------------------------------------


def test_counting_makes_the_plan_exact(plan: Any, home: Path) -> None:
    """`--count` tokenises in a process of its own; here a token is a byte."""
    write_tiny_model(home / "tiny")
    model = ("--set", "model.path=./tiny", "--set", "model.initial_weights=random", "--json")
    short = ("--set", "data.sequence_length=200", "--set", "plugins.lora.enabled=false")
    (home / "rows.jsonl").write_text('{"prompt": "12345", "completion": "678"}\n' * 24)
    before = parsed(plan(*model, *short))
    assert any("± 25%; `--count` tokenises" in said for said in before["assumptions"])
    after = parsed(plan(*model, *short, "--count"))
    assert after["tokens"] == 432  # 2 epochs of 24 rows of 9
    assert after["tokens_range"] == {"low": 432, "mid": 432, "high": 432}
    assert any("24 rows with 216 tokens, counted" in said for said in after["assumptions"])
    assert parsed(plan(*model, *short))["tokens"] == after["tokens"]  # and it stays known


def test_a_plan_imports_nothing_heavy(home: Path) -> None:
    probe = "import sys\nfrom stoker.cli import invoke\ntry: invoke(sys.argv[1:])\nexcept SystemExit: "
    probe += "pass\nprint(sorted(sys.modules), file=sys.stderr)"
    heavy = {"torch", "transformers", "datasets", "textual", "peft", "accelerate", "numpy", "pyarrow"}
    asked = ["plan", "recipe.toml", *H100, "--price", "2", "--explain"]
    done = subprocess.run(
        [sys.executable, "-c", probe, *asked], cwd=home, capture_output=True, text=True, check=True
    )
    assert "formulas" in done.stdout
    modules = done.stderr.splitlines()[-1]
    assert not [name for name in heavy if f"'{name}'" in modules]


def write_model(home: Path) -> None:
    (home / "tiny").mkdir()
    config = tiny_config() | {"hidden_size": 256, "intermediate_size": 688}
    (home / "tiny" / "config.json").write_text(json.dumps(config))


SMALL = (
    *("--set", "model.path=./tiny", "--set", "model.initial_weights=random"),
    *("--set", "data.sequence_length=64", "--set", "train.batch_size=4"),
    *("--set", "train.precision=fp32", "--set", "plugins.lora.enabled=false"),
)


def test_measuring_agrees_with_the_formula(plan: Any, home: Path) -> None:
    """The real engine, without memory: of two ranks of FSDP one is there."""
    write_model(home)
    found = parsed(plan(*SMALL, "--set", "plugins.fsdp={}", "--gpus", "2", "--measure", "--json"))
    Draft202012Validator(SCHEMA).validate(found)
    measured = found["measured"]["moments"]
    for moment, said in found["moments"].items():
        held = sum(measured[moment].values())
        assert sum(said.values()) == pytest.approx(held, rel=0.05), moment


def test_a_table_shows_what_was_measured(plan: Any, home: Path) -> None:
    write_model(home)
    result = plan(*SMALL, "--measure")
    assert result.exit_code == 0, result.output
    _, _, table = result.stdout.partition("measured: tensors alive in the third step of the real loop")
    errors = re.findall(r"^  (\w+) .*B +([+-][\d.]+)%$", table, re.MULTILINE)
    assert [name for name, _ in errors][:4] == ["forward", "loss", "backward", "update"]
    assert all(abs(float(error)) < 5 for _, error in errors[:4])
    assert "at the peak, the backward:" in table


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "plugins.zero={}", "--set", "model.path=llama-3.2-1b"), "needs real tensors"),
        (("--set", "plugins.zero={}", "--gpus", "16", *SMALL[:4]), "on 16"),
    ],
)
def test_what_is_too_large_to_be_real_is_not_measured(
    said: Any, home: Path, options: tuple[str, ...], words: str
) -> None:
    write_model(home)
    code, error = said("--set", "plugins.lora.enabled=false", *options, "--measure")
    assert code == 2
    assert words in error
    assert "Measure a smaller model" in error

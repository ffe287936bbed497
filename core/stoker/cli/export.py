"""`stoker export`: write a run's result for other libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from stoker.cli.run_options import print_json, run_argument
from stoker.run.directory import find_run


@click.command(help="Write a run's result as a Hugging Face directory.")
@run_argument
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="New directory.")
@click.option("--merge", is_flag=True, help="Fold an adapter into its base model.")
@click.option("--step", type=int, help="A certain checkpoint instead of the run's result.")
@click.option("--json", "as_json", is_flag=True, help="Print where it is as JSON.")
def command(run: str, run_dir: Path, target: Path, merge: bool, step: int | None, as_json: bool) -> None:
    """Start the export in a process that may import torch, and say what to do with the result."""
    directory = find_run(run, run_dir)
    arguments = [str(directory.path), "--to", str(target)]
    arguments += ["--merge"] if merge else []
    arguments += ["--step", str(step)] if step is not None else []
    # -P: a file in the current folder must not be taken for a library of its name.
    job = [sys.executable, "-P", "-m", "stoker.train.export", *arguments]
    # Libraries announce themselves there; errors come on the other stream.
    if code := subprocess.run(job, stdout=subprocess.DEVNULL).returncode:
        sys.exit(code)
    is_adapter = (target / "adapter_config.json").exists()
    if as_json:
        print_json({"run": directory.name, "directory": str(target), "adapter": is_adapter})
        return
    loader = "PeftModel.from_pretrained(base, ...)"
    if not is_adapter:
        loader = "AutoModelForCausalLM.from_pretrained(...)"
    click.echo(f"Wrote {target}. Load it with {loader}.")

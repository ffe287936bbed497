"""The core's recipe tables as pydantic models: validation, JSON Schema and docs come from here.

Every field has a description; units are in the name or in the description. Tables of plugins are
validated by the plugins' own `Config`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["bf16", "bf16_fp32_states", "bf16_mixed", "fp16_mixed", "fp32"]
DataFormat = Literal["text", "completion", "alpaca", "messages", "sharegpt"]


class Table(BaseModel):
    """Base of the core's tables: unknown keys are errors, numbers are not made from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunTable(Table):
    """`[run]`: what the run is called and where it lives."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$",
        description="Name of the run and of its directory: lower case letters, digits, '.', '_', '-'.",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seeds data order, weights, dropout.")
    directory: str = Field(
        default="runs", description="Folder that holds runs, relative to where stoker is called."
    )


class ModelTable(Table):
    """`[model]`: the model to train."""

    path: str = Field(
        min_length=1,
        description="A directory, a hub id, or a name that a plugin provides (`demo:smollm2-135m`).",
    )
    revision: str | None = Field(default=None, description="Commit, tag or branch on the hub.")
    trust_remote_code: bool = Field(
        default=False,
        description="Run Python code that comes with the model; needs a 40-digit commit in `revision`.",
    )
    initial_weights: Literal["pretrained", "random"] = Field(
        default="pretrained",
        description="`random` trains the architecture from scratch, keyed by seed and parameter name.",
    )


class DataSource(Table):
    """One row of `data.train` or `data.eval`."""

    path: str = Field(
        min_length=1,
        description="A file, a directory of files, a hub id, or a name that a plugin provides.",
    )
    format: DataFormat | None = Field(
        default=None, description="How a row is laid out; a plugin's source knows its own."
    )
    split: str | None = Field(default=None, description="Which split of the source; default: train.")
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="How often an epoch takes each row, on average."
    )


class DataTable(Table):
    """`[data]`: what the model sees and what it is graded on."""

    train: list[DataSource] = Field(min_length=1, description="Sources to train on.")
    eval: list[DataSource] = Field(default=[], description="Sources to evaluate on.")
    eval_fraction: float = Field(
        default=0.0, ge=0, le=0.5, description="Share of training rows held out, chosen by hash."
    )
    sequence_length: int = Field(
        default=1024, ge=8, description="Longest row in tokens; longer ones are cut and counted."
    )
    supervise: Literal["completion", "all"] = Field(
        default="completion", description="Which tokens carry loss."
    )
    chat_template: str | None = Field(
        default=None,
        description="Jinja chat template instead of the tokenizer's own, or the path of a .jinja file.",
    )
    on_bad_row: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="What to do with rows that cannot be used: refuse the data, or skip and count them.",
    )
    max_bad_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Largest share of a source's rows that may be skipped; above it, it is refused.",
    )


Warmup = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)]


class TrainTable(Table):
    """`[train]`: the optimisation."""

    epochs: float | None = Field(default=None, gt=0, description="Passes over the training rows.")
    steps: int | None = Field(default=None, ge=1, description="Optimizer steps, instead of epochs.")
    batch_size: int = Field(
        default=32, ge=1, description="Rows per optimizer step over all ranks (the global batch)."
    )
    micro_batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=1,
        description='Rows per forward pass on a rank; accumulation follows. "auto": the most that fit.',
    )
    learning_rate: float = Field(gt=0, le=10, examples=[1e-4], description="Peak learning rate.")
    schedule: Literal["constant", "linear", "cosine", "wsd"] = Field(
        default="cosine", description="Shape after the warm-up; wsd is warm-up, stable, decay."
    )
    warmup: Warmup = Field(
        default=0.03, description="Warm-up as a number of steps, or below 1 as a share of all steps."
    )
    decay: float = Field(
        default=0.2, gt=0, le=1, description="Share of the steps in which `wsd` decays to 0."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="Decoupled decay of matrices; vectors have none."
    )
    max_grad_norm: float | None = Field(
        default=1.0, gt=0, description="Clip the global gradient norm to this; 0 is not allowed."
    )
    precision: Precision = Field(
        default="bf16_mixed",
        description="Dtypes of weights, compute, gradient reduction and optimizer state.",
    )
    evaluate_every: int | None = Field(
        default=None, ge=1, description="Steps between evaluations; default: start and end only."
    )
    log_every: int = Field(
        default=10, ge=1, description="Steps between log points, each of them a synchronisation."
    )

    @model_validator(mode="after")
    def _one_length(self) -> TrainTable:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("needs exactly one of 'epochs' and 'steps'")
        return self


class CheckpointTable(Table):
    """`[checkpoint]`: when state is saved and how much of it is kept."""

    every: str = Field(
        default="10 min",
        pattern=r"^([1-9][0-9]* (steps?|s|min|h)|auto)$",
        examples=["200 steps", "30 s", "10 min", "2 h", "auto"],
        description='Interval between checkpoints: "200 steps", "30 s", "10 min", "2 h", or "auto": as '
        "often as pays, by how long one takes and how often runs are interrupted.",
    )
    keep: int = Field(
        default=2, ge=1, description="Newest checkpoints kept, besides the best and the last."
    )
    asynchronous: bool = Field(
        default=True,
        description="Write in the background from a copy in host memory; false makes training wait.",
    )
    max_failures: int = Field(
        default=3,
        ge=1,
        description="Failed saves in a row, for example on a full disk, after which the run ends.",
    )
    hours_between_interruptions: float = Field(
        default=6.0,
        gt=0,
        allow_inf_nan=False,
        description='What to expect, for every = "auto"; corrected by what the run sees.',
    )


class LaunchTable(Table):
    """`[launch]`: how many processes."""

    gpus_per_node: int = Field(
        default=1, ge=1, le=64, description="Ranks on each node, one GPU each (processes on CPU)."
    )
    nodes: int = Field(default=1, ge=1, le=4096, description="Machines that train together.")
    max_restarts: int = Field(
        default=0,
        ge=0,
        description="Restarts after failures that a restart may mend, from the newest valid checkpoint, "
        "5, 10, 20 ... seconds later. One node only: several are restarted by the cluster.",
    )
    hang_seconds: int = Field(
        default=600,
        ge=0,
        description="The ranks are ended, and the one that hangs is named, when none has shown a sign "
        "of life for so long; three times as long, and at least 2 min, before the first step is done. "
        "0: never.",
    )


class RecipeTables(Table):
    """A whole recipe. Plugin tables are checked by the plugins' own `Config`."""

    run: RunTable
    model: ModelTable
    data: DataTable
    train: TrainTable
    checkpoint: CheckpointTable = CheckpointTable()
    launch: LaunchTable = LaunchTable()
    plugins: dict[str, dict[str, Any]] = Field(
        default={}, description="One table for each plugin; `enabled = false` switches it off."
    )

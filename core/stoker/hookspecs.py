"""The timeline: what happens in a run, in order, with every hook in its place.

This block is the API document. A test runs a tiny fit with a recording plugin and compares the
order it saw with this block, line by line.

.. timeline-start

::

    # without torch: `stoker check`, and again before every launch
    collect_problems(recipe)

    # without torch: `stoker plan`, and before every launch
    describe_model(recipe)                      the config.json of a model that the plugin provides
    collect_estimates(situation)

    # without torch: before a launch, and by whoever keeps the run's ledger
    make_tariff(recipe)                         what an hour of a GPU costs, and what may be spent

    # on every rank: data first, so that nothing slow happens while a process group waits
    on_run_start(run)
    make_model_files(run)                       a name the plugin provides -> a Hugging Face directory
    make_tokenizer(run)
    collect_sources(run)                        rows for names the plugin provides; then tokenised once
    make_engine(run)                            before any weight exists; creates the process group
    make_order(run, index)
    collect_model_kwargs(run)
    make_model(run, engine)                     inside engine.building(): no memory is taken yet
    patch_model(run, model)
    adapt_model(run, model)
    checkpoint_activations(run, model)
    compile_model(run, model)
                                                engine.shard(model)
    make_optimizer(run, parameter_groups)
    collect_initial_values(run, model)          then engine.attach(optimizer), engine.load(source)
    make_loss(run)
    make_schedule(run)
    make_collator(run)                          how rows of a micro-batch become tensors
    make_batching(run)                          how rows of a step become micro-batches
                                                plugin.load_state(state), when resuming
                                                train.micro_batch_size = "auto": tries, unheard by hooks
    collect_estimates(situation)                again: for the work of a token, which MFU and HFU need
    on_train_start(state)
    a first checkpoint, as below, unless the run goes on from one
    on_evaluate_start(state)                    once before the first step
    on_evaluate_end(state, metrics)

    repeat for every step:
        on_step_start(state)
        repeat for every micro-batch: forward, loss, backward
            on_micro_batch_end(state)
        on_gradients(state)                     complete and unscaled, before clipping
        on_step_end(state, metrics)             device tensors: reading one is a synchronisation
        on_log(state, rows)                     host numbers, at log points only
        collect_notices(run)                    here, before the first step, and while evaluating
        collect_limits(run)                     the same: save, and end in exit code 4
        should_evaluate(state)                  the answer counts one step later between log points
        should_checkpoint(state)
        should_stop(state)
        at an evaluation:
            on_evaluate_start(state)
            on_evaluate_end(state, metrics)
            should_checkpoint(state)            asked again, and heard at once
            should_stop(state)
        at a checkpoint:                        plugin.save_state(); then written in the background
            on_checkpoint_committed(state, checkpoint)      at a later boundary
            make_result(state)

    at the end, and when stopped: a checkpoint, as above
    on_train_end(state, outcome)
    on_run_end(run, outcome)
    on_exception(run, error)                    instead of the rest, when something raised

    # `stoker export`, a process of its own
    export_model(run, source, directory, merge)

.. timeline-end

The name says what a result means:

=========  =========================================  =============================================
kind       named                                      result
=========  =========================================  =============================================
notify     ``on_*``                                   ignored
collect    ``collect_*``                              merged; two plugins that set one key
                                                      differently are an error that names both
stage      ``patch_model``, ``adapt_model``,          none: the model is changed in place
           ``checkpoint_activations``,
           ``compile_model``
own        ``make_*``, ``describe_model``,            one plugin's, or the core's default; None
           ``export_model``                           leaves it to the default
vote       ``should_*``                               true if any plugin on any rank says so
=========  =========================================  =============================================

Within a hook, plugins run in the order of their `after` and `before`, then by name: the same on
every rank. An implementation asks only for the arguments it uses, and never gives them defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from stoker.plugin import PROJECT_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from stoker.checkpoint.finding import Checkpoint
    from stoker.data.batches import Batching, Collator
    from stoker.data.index import TokenIndex
    from stoker.data.order import Order
    from stoker.data.sources import PluginSource
    from stoker.plan.situation import Situation
    from stoker.recipe.model import Recipe
    from stoker.recipe.problems import Problem
    from stoker.run.context import Outcome, Run
    from stoker.run.ledger import Tariff
    from stoker.run.notices import Notice
    from stoker.train.engine import Engine
    from stoker.train.loss import Loss
    from stoker.train.schedule import Schedule
    from stoker.train.state import State
    from stoker.train.weights import InitialValue, WeightSource

hookspec = pluggy.HookspecMarker(PROJECT_NAME)

# -- without torch ------------------------------------------------------------------------------


@hookspec
def collect_problems(recipe: Recipe) -> list[Problem]:
    """Say what is wrong with a recipe beyond what `Config` can express.

    Called by `check` and before every launch, without torch. Return problems with dotted keys;
    the core adds file, line and column.
    """
    raise AssertionError("a specification is never called")


@hookspec
def describe_model(recipe: Recipe) -> Mapping[str, Any] | None:
    """Return what `config.json` says of a `model.path` of the form `plugin:name`, without making it.

    Asked only of the plugin that the path names, without torch: a plan reads sizes from it.
    """


@hookspec
def collect_estimates(situation: Situation) -> Mapping[str, Any]:
    """Say how the plugin changes the memory and time of a step, in the words of `stoker.plan.facts`.

    A mapping of names of `Facts` to values, and `buffers.NAME` for bytes of its own on each device.
    Called without torch, perhaps thousands of times by `plan --compare`: a pure, quick function of the
    plugin's config and the situation.
    """
    raise AssertionError("a specification is never called")


@hookspec
def make_tariff(recipe: Recipe) -> Tariff | None:
    """Return what an hour of a GPU costs, and how much the run may spend. Default: no accounts are kept.

    Asked before anything is started, without torch: raise a `StokerError` where no price is known.
    """


# -- start-up, on every rank --------------------------------------------------------------------


@hookspec
def on_run_start(run: Run) -> None:
    """First call on every rank; only `run.recipe`, `run.directory` and the rank are known."""


@hookspec
def collect_notices(run: Run) -> Notice | None:
    """Say that this machine is about to be taken away, or may be.

    Asked on every rank before the first step, at every boundary between steps, and between the batches
    of an evaluation: answer at once, from what a thread of your own has found. The same answer may be
    given for ever; all ranks leave, or save, at the same boundary after it is given on one of them.
    """


@hookspec
def collect_limits(run: Run) -> str | None:
    """Say, in words, that the run has used up what it was allowed: "the budget of $5.00 is spent".

    Asked where `collect_notices` is, and to be answered as quickly. All ranks then leave at the same
    boundary, saved, and the run ends in exit code 4; one whose last step is done is done all the same.
    Between log points the answer counts one step later, so say it one step early there.
    """


@hookspec
def make_model_files(run: Run) -> Path | None:
    """Return a directory in Hugging Face layout for a `model.path` of the form `plugin:name`.

    Asked only of the plugin that the path names, before any process group exists. Every rank calls
    it: guard slow work with a lock file.
    """


@hookspec
def make_tokenizer(run: Run) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer. Default: `AutoTokenizer.from_pretrained(run.model_directory)`."""


@hookspec
def collect_sources(run: Run) -> Mapping[str, PluginSource]:
    """Return data sources by full name, for example `{"demo:docstrings": PluginSource(...)}`."""
    raise AssertionError("a specification is never called")


@hookspec
def make_engine(run: Run) -> Engine | None:
    """Return the engine: who shards, runs backward and steps. Default: Accelerate, one device or DDP.

    Also creates the process group (`stoker.train.distributed.connect`).
    """


@hookspec
def make_order(run: Run, index: TokenIndex) -> Order | None:
    """Return which rows each step takes, as a pure function of the step.

    Default: a permutation keyed by (seed, epoch).
    """


@hookspec
def collect_model_kwargs(run: Run) -> Mapping[str, Any]:
    """Return keyword arguments for the model's constructor, for example `attn_implementation`."""
    raise AssertionError("a specification is never called")


@hookspec
def make_model(run: Run, engine: Engine) -> nn.Module | None:
    """Return the causal language model, without values. Default: transformers' class for the config."""


@hookspec
def patch_model(run: Run, model: nn.Module) -> None:
    """Replace modules or kernels in place, before adapters. Parameter names must not change.

    Modules are in training mode; one that is put into evaluation mode stays in it.

    A frozen parameter may become one that is kept in another form, such as 4 bits a value: see
    `stoker.train.weights.PackedParameter`.
    """


@hookspec
def adapt_model(run: Run, model: nn.Module) -> None:
    """Add adapters or freeze parameters, in place."""


@hookspec
def checkpoint_activations(run: Run, model: nn.Module) -> None:
    """Arrange for activations to be recomputed or offloaded, in place."""


@hookspec
def compile_model(run: Run, model: nn.Module) -> None:
    """Compile blocks or the whole model, in place."""


@hookspec
def make_optimizer(run: Run, parameter_groups: list[dict[str, Any]]) -> torch.optim.Optimizer | None:
    """Return the optimizer over groups with `params` and `weight_decay`. Default: AdamW."""


@hookspec
def collect_initial_values(run: Run, model: nn.Module) -> Mapping[str, InitialValue]:
    """Return how to make the first value of parameters that no weights file holds, by name.

    Each value is a function of (shape, generator, read) giving a CPU tensor; `read(name)` gives
    another tensor of the same model. Used by adapters.
    """
    raise AssertionError("a specification is never called")


@hookspec
def make_loss(run: Run) -> Loss | None:
    """Return a callable (model, batch) -> (sum over supervised tokens, number of them)."""


@hookspec
def make_schedule(run: Run) -> Schedule | None:
    """Return the learning rate as a pure function of the step, counted from 1."""


@hookspec
def make_collator(run: Run) -> Collator | None:
    """Return how rows of the index become a micro-batch's tensors. Default: padded on the right.

    Called in a background thread for training steps, and for evaluations. Rows that share a row of
    the batch are told apart by `Batch.documents`.
    """


@hookspec
def make_batching(run: Run) -> Batching | None:
    """Return how rows become micro-batches. Default: sorted by length, `run.micro_batch_size` at a time.

    A callable (rows, lengths of all rows of the index, world_size) -> micro-batches of all ranks, the
    largest first; a pure function, asked for training steps and for evaluations. The core gives
    micro-batch i to rank i % world_size, and ranks that would have one less an empty one.
    """


# -- training -----------------------------------------------------------------------------------


@hookspec
def on_train_start(state: State) -> None:
    """Weights are loaded, state is restored, no step has run in this attempt."""


@hookspec
def on_step_start(state: State) -> None:
    """Before the forward of a step's first micro-batch. `state.step` is the step about to run."""


@hookspec
def on_micro_batch_end(state: State) -> None:
    """After each backward. Ranks with fewer micro-batches run an empty one, so counts match."""


@hookspec
def on_gradients(state: State) -> None:
    """Gradients are complete, reduced and unscaled; clipping comes next. May change them in place."""


@hookspec
def on_step_end(state: State, metrics: Mapping[str, torch.Tensor]) -> None:
    """After the optimizer step. `metrics` holds device tensors: reading one is a synchronisation."""


@hookspec
def on_log(state: State, rows: Sequence[Mapping[str, float]]) -> None:
    """At log points: one row of host numbers for each step since the last one, on every rank."""


@hookspec
def should_evaluate(state: State) -> bool:
    """Ask for an evaluation besides the recipe's `evaluate_every`."""
    raise AssertionError("a specification is never called")


@hookspec
def should_checkpoint(state: State) -> bool:
    """Ask for a checkpoint besides the recipe's `checkpoint.every`.

    Say so once: a checkpoint that is being written does not keep another from being begun.
    """
    raise AssertionError("a specification is never called")


@hookspec
def should_stop(state: State) -> bool:
    """Ask for the end of training. The run then counts as done."""
    raise AssertionError("a specification is never called")


@hookspec
def on_evaluate_start(state: State) -> None:
    """Before the evaluation's first batch."""


@hookspec
def on_evaluate_end(state: State, metrics: Mapping[str, float]) -> None:
    """`metrics`: host numbers, equal on all ranks: eval_loss, best_eval_loss, rows, tokens, seconds."""


@hookspec
def on_checkpoint_committed(state: State, checkpoint: Checkpoint) -> None:
    """A checkpoint is durable under its final name. On every rank.

    `state.step` is a later step than `checkpoint.step` where it was written in the background.
    """


@hookspec
def on_train_end(state: State, outcome: Outcome) -> None:
    """Training is over and the result is saved; the model still exists."""


@hookspec
def on_run_end(run: Run, outcome: Outcome) -> None:
    """Last call of a run that did not raise."""


@hookspec
def on_exception(run: Run, error: BaseException) -> None:
    """Last call of a run that raised. May not raise itself."""


@hookspec
def make_result(state: State) -> Checkpoint | None:
    """Return which of `state.checkpoints` is the run's result. Default: the newest.

    Asked after every commit: what would be the result is never deleted.
    """


# -- export -------------------------------------------------------------------------------------


@hookspec
def export_model(run: Run, source: WeightSource, directory: Path, merge: bool) -> bool | None:
    """Write the result to `directory` so that its usual library loads it; True when it was written.

    Default: a directory for `AutoModelForCausalLM.from_pretrained`.
    """

"""Puts a plan together: a recipe on so many GPUs of a type. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from stoker.capabilities import situation as capability_values
from stoker.dispatch import Hooks
from stoker.errors import StokerError, UsageError
from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.attained import attained
from stoker.plan.automatic import even_sizes, largest_that_fits, useful_on_cpu
from stoker.plan.cost import CostEstimate, Interruptions, commit_seconds, estimate_cost
from stoker.plan.dataset import DataEstimate, estimate_data
from stoker.plan.facts import Facts, facts_from
from stoker.plan.gpus import CPU, Gpu
from stoker.plan.history import calibration_for, machine_alone
from stoker.plan.machine import read_machine
from stoker.plan.memory import MemoryEstimate, estimate_memory
from stoker.plan.model_config import model_config
from stoker.plan.prices import Price, PriceTable, find_price, given_price
from stoker.plan.remarks import assumptions, findings
from stoker.plan.situation import Situation
from stoker.plan.time import Span, TimeEstimate, estimate_time
from stoker.plan.trained import trained_set
from stoker.plan.workload import (
    accumulation,
    largest_micro_batch,
    load_of,
    steps_of,
    tokens_of,
    with_checkpoints,
)
from stoker.registry import make_plugins

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe


@dataclass(frozen=True)
class Target:
    """The machines that a plan is for."""

    gpu: Gpu
    gpus: int = 1
    """On all nodes."""
    nodes: int = 1
    provider: str | None = None
    """Whose prices; None: the user's own, else the cheapest that is known."""
    prices: PriceTable = field(default_factory=lambda: PriceTable(()))

    def at(self, price: Price) -> Target:
        """The same at a price that stands for all others of its type of GPU."""
        others = tuple(each for each in self.prices.prices if each.gpu != price.gpu)
        return replace(self, prices=PriceTable((price, *others), self.prices.warnings))

    def at_recipes_price(self, recipe: Recipe) -> Target:
        """The same at the price that a plugin of the recipe keeps accounts by, where one does."""
        from stoker.run.budget import find_tariff  # it brings much of `stoker.run` along

        try:
            tariff = find_tariff(recipe)
        except StokerError:
            return self  # there is no such price for this machine: a run says so
        if tariff is None:
            return self
        return self.at(given_price(self.gpu.name, tariff.usd_per_gpu_hour, tariff.source))


@dataclass(frozen=True)
class Plan:
    """What a run needs and takes. `time` is None where the number of steps or tokens is not known."""

    name: str
    model: str
    architecture: Architecture
    target: Target
    values: Mapping[str, str]
    """One value for each axis of the capability matrix: engine, method, precision ..."""
    micro_batch_rows: int
    """The recipe's, or the number that "auto" comes to."""
    situation: Situation
    facts: Facts
    data: DataEstimate | None
    memory: MemoryEstimate
    time: TimeEstimate | None
    cost: CostEstimate | None
    uncalibrated_step_seconds: float | None
    """By what is known of the GPU alone, before earlier runs correct it."""
    machine: float
    """Which measurement of the machine that goes by; 0: none."""
    steps: int | None
    tokens: Span | None
    """Of the whole run, padding left out."""
    assumptions: tuple[str, ...]
    findings: tuple[str, ...]

    @property
    def trained_parameters(self) -> int:
        """Elements that the optimizer updates."""
        return trained_set(self.architecture, self.facts).elements

    @property
    def fits(self) -> bool:
        """Whether the peak is below what the GPU offers."""
        return self.memory.fits


def make_plan(recipe: Recipe, target: Target, hooks: Hooks | None = None) -> Plan:
    """The plan of a checked recipe on `target`.

    Raises `UsageError` for a model of which nothing is known, and for ranks that nodes do not divide.
    """
    if target.gpus % target.nodes:
        raise UsageError(
            f"{target.gpus} GPUs cannot be spread evenly over {target.nodes} nodes.",
            hint="--gpus is the number on all nodes together.",
        )
    hooks = hooks or Hooks(make_plugins(recipe.plugins))
    architecture = read_architecture(model_config(recipe, hooks))
    data = estimate_data(recipe)
    setting = _Setting(recipe, hooks, architecture, target, data)
    rows, how = setting.rows()
    situation, facts = setting.with_rows(rows)
    memory = estimate_memory(situation, facts, keep=recipe.checkpoint.keep)
    values = _values(recipe, hooks)
    steps = steps_of(recipe, data)
    tokens = tokens_of(recipe, data, steps)
    time = uncalibrated = None
    if steps is not None:
        load = load_of(recipe, rows, situation, facts, data, steps)
        machine = machine_alone(situation, attained(target.gpu.name).spread)
        uncalibrated = estimate_time(situation, facts, load, machine)
        calibration = calibration_for(situation, values) or machine
        time = estimate_time(situation, facts, load, calibration)
        time = with_checkpoints(recipe, situation, facts, load, time, calibration)
    cost = _cost(recipe, target, memory, time, tokens)
    measured = read_machine(target.gpu.name)
    return Plan(
        name=recipe.run.name,
        model=recipe.model.path,
        architecture=architecture,
        target=target,
        values=values,
        micro_batch_rows=rows,
        situation=situation,
        facts=facts,
        data=data,
        memory=memory,
        time=time,
        cost=cost,
        machine=measured.t if measured else 0.0,
        uncalibrated_step_seconds=uncalibrated.step_seconds.mid if uncalibrated else None,
        steps=steps,
        tokens=tokens,
        assumptions=(*how, *assumptions(recipe, situation, data, memory, time, cost)),
        findings=(*findings(architecture, target.gpu, memory, data), *_price_findings(target)),
    )


def _ask(hooks: Hooks, situation: Situation) -> Facts:
    return facts_from(hooks.collect_mapping("collect_estimates", situation=situation))


def values_of(recipe: Recipe) -> dict[str, str]:
    """The recipe's value on each axis of the capability matrix."""
    return _values(recipe, Hooks(make_plugins(recipe.plugins)))


def _values(recipe: Recipe, hooks: Hooks) -> dict[str, str]:
    classes = {name: type(plugin) for name, plugin in hooks.plugins.items()}
    configs = {name: plugin.config for name, plugin in hooks.plugins.items()}
    return capability_values(recipe.train.precision, classes, configs)


# -- micro-batches --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Setting:
    """All that a situation follows from, but for the rows of a micro-batch."""

    recipe: Recipe
    hooks: Hooks
    architecture: Architecture
    target: Target
    data: DataEstimate | None

    def rows(self) -> tuple[int, tuple[str, ...]]:
        """Rows of a micro-batch, and where they are chosen here, how, in words."""
        train, target = self.recipe.train, self.target
        if train.micro_batch_size != "auto":
            return min(train.micro_batch_size, train.batch_size), ()
        sizes: Sequence[int] = even_sizes(train.batch_size, target.gpus)
        on_cpu = target.gpu.name == CPU
        if on_cpu:
            sizes = useful_on_cpu(sizes, lambda rows: self.with_rows(rows)[0].micro_batch.tokens)
        # Processes share the memory of a machine; GPUs have their own.
        sharing = target.gpus // target.nodes if on_cpu else 1
        found = largest_that_fits(sizes, lambda rows: self._memory(rows).total * sharing, target.gpu)
        return found.rows, (found.words,)

    def with_rows(self, rows: int) -> tuple[Situation, Facts]:
        """With so many rows at once."""
        situation = self._situation(rows, Facts())
        facts = _ask(self.hooks, situation)
        if facts.packed:
            situation = self._situation(rows, facts)
            facts = _ask(self.hooks, situation)
        return situation, facts

    def _memory(self, rows: int) -> MemoryEstimate:
        return estimate_memory(*self.with_rows(rows))

    def _situation(self, rows: int, facts: Facts) -> Situation:
        recipe, data, target = self.recipe, self.data, self.target
        return Situation(
            architecture=self.architecture,
            precision=recipe.train.precision,
            micro_batch=largest_micro_batch(recipe, data, facts, rows, target.gpus),
            gpu=target.gpu,
            ranks=target.gpus,
            nodes=target.nodes,
            accumulation=accumulation(recipe, data, facts, rows, target.gpus),
        )


# -- cost -----------------------------------------------------------------------------------------


def _cost(
    recipe: Recipe,
    target: Target,
    memory: MemoryEstimate,
    time: TimeEstimate | None,
    tokens: Span | None,
) -> CostEstimate | None:
    """None where time or any price is unknown."""
    on_demand, spot = (_price(target, spot=each) for each in (False, True))
    if time is None or (on_demand is None and spot is None):
        return None
    commit = commit_seconds(memory.disk_bytes, recipe.checkpoint.keep)
    mean = recipe.checkpoint.hours_between_interruptions * 3600
    return estimate_cost(
        time,
        target.gpus,
        on_demand=on_demand,
        spot=spot,
        interruptions=Interruptions(mean_seconds=mean, commit_seconds=commit),
        machines=target.nodes,
        tokens=tokens.mid if tokens else 0.0,
    )


def _price(target: Target, *, spot: bool) -> Price | None:
    return find_price(target.gpu.name, target.provider, spot=spot, prices=target.prices)


def _price_findings(target: Target) -> tuple[str, ...]:
    prices = [price for spot in (False, True) if (price := _price(target, spot=spot))]
    old = [warning for price in prices if (warning := price.warning(date.today()))]
    return (*dict.fromkeys(old), *target.prices.warnings)

"""The planner behind advice: the formulas of `stoker.plan`, asked for one candidate after the other."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from stoker.advice.estimator import Candidate, Estimate
from stoker.dispatch import Hooks
from stoker.errors import UsageError
from stoker.matrix import Classes
from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.cost import Interruptions, estimate_cost
from stoker.plan.facts import Facts, facts_from
from stoker.plan.gpus import find_gpu, known_gpus
from stoker.plan.memory import estimate_memory
from stoker.plan.models import find_model, known_models
from stoker.plan.prices import Price, PriceTable, find_price, load_prices
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.time import Load, estimate_time
from stoker.plan.trained import trained_set
from stoker.recipe.paths import plugin_of
from stoker.recipe.schema import CheckpointTable
from stoker.registry import configure_plugin, order_plugins

DISK_BYTES_PER_SECOND = 5e8
"""At which a checkpoint becomes durable, for spot machines: an order of magnitude, to be measured."""
_SECONDS_PER_HOUR = 3600.0


@dataclass
class FormulaPlanner:
    """Estimates candidates without torch and without the network."""

    classes: Classes
    """Of the installed plugins by name."""
    provider: str | None = None
    """Whose prices; None: the cheapest that are known."""
    prices: Path | None = None
    """The user's own prices."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the `config.json` of models says that are known by neither name nor folder."""
    _architectures: dict[str, Architecture] = field(default_factory=dict)
    _hooks: dict[str, Hooks] = field(default_factory=dict)
    _found_prices: dict[str, tuple[Price | None, Price | None]] = field(default_factory=dict)

    def estimate(self, candidate: Candidate) -> Estimate:
        """Memory of the largest micro-batch, time of the mean one."""
        situation = self._situation(candidate)
        facts = self._facts(candidate.tables, situation)
        memory = estimate_memory(situation, facts)
        time = estimate_time(situation, facts, _load(candidate))
        on_demand, spot = self._prices_of(candidate.gpu)
        cost = estimate_cost(
            time,
            candidate.gpus,
            on_demand=on_demand,
            spot=spot,
            interruptions=_interruptions(situation, facts),
            machines=candidate.nodes,
        )
        return Estimate(
            fits=memory.fits,
            total_bytes=memory.total,
            capacity_bytes=memory.capacity,
            per_gpu=memory.per_component,
            host_bytes=memory.host_bytes * candidate.gpus_per_node,
            hours=cost.hours,
            usd=cost.on_demand_usd,
            spot_usd=cost.spot_usd,
            provider=on_demand.provider if on_demand else "",
            spot_provider=spot.provider if spot else "",
            notes=(*memory.notes, *time.notes, *cost.notes, *self._warnings(on_demand, spot)),
        )

    def memory_bytes(self, gpu: str) -> float:
        """Of a GPU type."""
        return find_gpu(gpu).memory_bytes

    def has_bf16(self, gpu: str) -> bool:
        """Whether it computes in bfloat16."""
        return find_gpu(gpu).has_bf16

    def gpus(self) -> list[str]:
        """All GPU types with a price or without, those with less memory first."""
        known = known_gpus()
        return sorted(known, key=lambda name: known[name].memory_bytes)

    def num_parameters(self, model: str) -> float:
        """Of a model by name, or in a folder."""
        return self._architecture(model).num_parameters

    def max_positions(self, model: str) -> int:
        """By its config."""
        return self._architecture(model).max_positions

    def known_models(self) -> Mapping[str, float]:
        """Published numbers of parameters by name."""
        return {name: model.parameters for name, model in known_models().items()}

    def model_path(self, model: str) -> str:
        """What a recipe calls it: a folder or a hub id as given, else the hub id behind a name."""
        is_path = _folder(model) or "/" in model or plugin_of(model)
        return model if is_path else find_model(model).hub_id

    @cached_property
    def _prices(self) -> PriceTable:
        return load_prices(self.prices)

    def _prices_of(self, gpu: str) -> tuple[Price | None, Price | None]:
        """On demand, and on spot machines where that is less: they may be another provider's."""
        if gpu not in self._found_prices:
            on_demand = find_price(gpu, self.provider, prices=self._prices)
            spot = find_price(gpu, self.provider, spot=True, prices=self._prices)
            if spot and on_demand and spot.mid >= on_demand.mid:
                spot = None
            self._found_prices[gpu] = on_demand, spot
        return self._found_prices[gpu]

    def _warnings(self, *prices: Price | None) -> list[str]:
        """What is wrong with price tables, and which prices are old."""
        warnings = [price.warning(date.today()) for price in prices if price]
        return list(dict.fromkeys(each for each in (*self._prices.warnings, *warnings) if each))

    def _architecture(self, model: str) -> Architecture:
        if model not in self._architectures:
            config = self.configs[model] if model in self.configs else _config(model)
            self._architectures[model] = read_architecture(config)
        return self._architectures[model]

    def _situation(self, candidate: Candidate) -> Situation:
        rows, positions = candidate.micro_batch_size, candidate.row_tokens
        batch = MicroBatch(rows, positions, supervised=rows * positions, longest_document=positions)
        return Situation(
            architecture=self._architecture(candidate.model),
            precision=candidate.precision,
            micro_batch=batch,
            gpu=find_gpu(candidate.gpu),
            ranks=candidate.gpus,
            nodes=candidate.nodes,
            accumulation=candidate.accumulation,
        )

    def _facts(self, tables: Mapping[str, Mapping[str, Any]], situation: Situation) -> Facts:
        """What the plugins of a recipe with these tables say; two that disagree are an error."""
        key = json.dumps(tables, sort_keys=True)
        if key not in self._hooks:
            self._hooks[key] = self._make_hooks(tables)
        return facts_from(self._hooks[key].collect_mapping("collect_estimates", situation=situation))

    def _make_hooks(self, tables: Mapping[str, Mapping[str, Any]]) -> Hooks:
        """Of combinations that the capability matrix has checked."""
        classes = {name: self.classes[name] for name in tables}
        names = order_plugins(classes)
        return Hooks({name: configure_plugin(name, classes[name], tables[name]) for name in names})


def _folder(model: str) -> Path | None:
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else None


def _config(model: str) -> dict[str, Any]:
    """The entries of a model's config.json. Raises `UsageError` where there is none that can be read."""
    folder = _folder(model)
    if folder is None:
        return dict(find_model(model).config)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder / 'config.json'} cannot be read: {error}.",
            hint="Name a folder with a config.json, or a model by name.",
        ) from error
    if not isinstance(config, dict):
        raise UsageError(f"{folder / 'config.json'} is no JSON object.")
    return config


def _load(candidate: Candidate) -> Load:
    """Steps over micro-batches of average rows: how rows are padded is not known without the data."""
    rows, mean = candidate.micro_batch_size, candidate.mean_tokens
    return Load(
        steps=candidate.steps,
        micro_batch=MicroBatch(rows, mean, supervised=rows * mean, longest_document=mean),
        tokens_per_step=float(candidate.batch_size * mean),
    )


def _interruptions(situation: Situation, facts: Facts) -> Interruptions:
    """As `checkpoint.every = "auto"` expects them until it has seen some."""
    hours = CheckpointTable.model_fields["hours_between_interruptions"].default
    each = situation.master_bytes + math.ceil(facts.optimizer.moments) * situation.state_bytes
    size = trained_set(situation.architecture, facts).elements * each
    return Interruptions(
        mean_seconds=hours * _SECONDS_PER_HOUR,
        commit_seconds=size / situation.nodes / DISK_BYTES_PER_SECOND,
    )

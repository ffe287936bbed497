"""Puts together what a rank holds at each moment of a step. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stoker.plan.gathering import Gathering
from stoker.plan.gpus import CPU
from stoker.plan.inventory import Method, take_inventory
from stoker.plan.memory import MemoryEstimate
from stoker.plan.overheads import CUDA_CONTEXT_BYTES, NCCL_BYTES, RESERVED_SHARE
from stoker.plan.passes import Passes, run_passes
from stoker.plan.sizes import FLOAT32, States, states_of
from stoker.plan.surroundings import Arithmetic
from stoker.plan.values import Moment, Peak
from stoker.plan.written import Setup

if TYPE_CHECKING:
    from stoker.plan.facts import Facts, Optimizer, Place
    from stoker.plan.situation import Situation

_INDEX_BYTES = 8
"""Tokens and positions are int64."""
_FLOAT32_UPDATE = 8
"""Copies in float32 of a weight that `stoker.train.adamw` has at a time: gradient, both moments, rate,
weight before and after, and the two terms of their difference."""
_CHECKPOINTS_IN_MAKING = 3
"""Beside the newest: the best, the result, and one that is being written (`stoker.train.room`)."""


_STAYS = ("weights", "master_weights", "optimizer")
"""Components that are taken once and leave no gaps."""


def _reserved_factor(moments: Iterable[Mapping[str, float]]) -> float:
    """Bytes reserved for each byte of tensors at the fullest moment."""
    peak = max(moments, key=lambda moment: sum(moment.values()))
    total = sum(peak.values())
    stays = sum(peak[name] for name in _STAYS)
    return 1.0 + RESERVED_SHARE * (1.0 - stays / total) if total else 1.0


class Estimator:
    """One estimate."""

    def __init__(self, situation: Situation, facts: Facts) -> None:
        self.situation = situation
        self.facts = facts
        self.sharding = facts.sharding
        method = Method(facts.adapter, facts.quantized, facts.frozen, facts.trained)
        self.inventory = take_inventory(situation.architecture, method)
        self.states = states_of(situation, facts, self.inventory)
        self.on_cpu = situation.gpu.name == CPU
        self.passes: Passes = run_passes(self._setup(method), self._gathering())

    def _setup(self, method: Method) -> Setup:
        situation, facts = self.situation, self.facts
        autocasts = self.sharding.casts and situation.master_bytes != situation.compute_bytes
        gradient = situation.master_bytes if self.sharding.casts else situation.compute_bytes
        return Setup(
            architecture=situation.architecture,
            micro_batch=situation.micro_batch,
            method=method,
            checkpointing=facts.checkpointing,
            attention=facts.attention,
            arithmetic=Arithmetic(
                situation.compute_bytes,
                autocasts,
                gradient,
                self.on_cpu,
                scales_loss=situation.precision == "fp16_mixed",
            ),
            packed=facts.packed,
            compiled=facts.compiled != "no",
            loss=facts.loss,
            repeats_keys=facts.repeats_keys,
        )

    def _gathering(self) -> Gathering | None:
        sharding, situation = self.sharding, self.situation
        if sharding.gathers == "never":
            return None
        return Gathering(
            reuse_elements=self._reuse_elements(),
            ahead=sharding.gathered_parts - 1,
            ahead_elements=sharding.fetched_elements,
            is_cut=sharding.weights_over > 1,
            weight_bytes=situation.compute_bytes,
            reduce_bytes=0 if sharding.fetched_elements else situation.master_bytes,
            whole_below=sharding.whole_below,
        )

    def _reuse_elements(self) -> float:
        if self.sharding.reuse_elements is not None:
            return self.sharding.reuse_elements
        return 0.0 if self.sharding.gathers == "twice" else float("inf")

    def estimate(self, keep: int) -> MemoryEstimate:
        """All of it."""
        several = self.situation.ranks > 1
        moments = self._moments()
        return MemoryEstimate(
            moments=moments,
            context=0.0 if self.on_cpu else CUDA_CONTEXT_BYTES + NCCL_BYTES * several,
            reserved_factor=1.0 if self.on_cpu else _reserved_factor(moments.values()),
            capacity=self.situation.gpu.memory_bytes,
            host_bytes=self._at("host")
            + self.facts.host_buffers
            + self.passes.on_host
            + self._transfer_bytes(),
            nvme_bytes=self._at("nvme"),
            disk_bytes=(keep + _CHECKPOINTS_IN_MAKING) * self._checkpoint_bytes(),
        )

    # -- moments ----------------------------------------------------------------------------------

    def _moments(self) -> dict[str, Mapping[str, float]]:
        passes, all_gradients = self.passes, self._device_gradients()
        before = self._gradients_before(all_gradients)
        return {
            "forward": self._moment(self._ahead(passes.forward, before), before),
            "loss": self._moment(self._ahead(passes.loss, before), before),
            "backward": self._backward(all_gradients, before),
            "update": self._update(all_gradients),
        }

    def _gradients_before(self, all_gradients: float) -> float:
        """Those that there are before a step's last micro-batch."""
        accumulates = self.situation.accumulation > 1
        if self._has_buckets():
            # Until the last backward sums are kept beside the buckets that will take them.
            return all_gradients * (2 if accumulates else 1)
        if accumulates and not self.sharding.reduces_each_micro_batch:
            item = self.situation.master_bytes
            return all_gradients if self.sharding.casts else float(self.inventory.trained * item)
        always = self.sharding.gradients_live == "always"
        return all_gradients if always or accumulates else 0.0

    def _ahead(self, moment: Moment, before: float) -> Moment:
        """Gradients that the forward makes are the kept ones only where there are none yet."""
        peak = moment.peak
        if not (before or self._gathers):
            return moment
        saved = replace(peak, saved=peak.saved + peak.gradients, gradients=0.0)
        return moment._replace(peak=saved)

    def _moment(self, moment: Moment, gradients: float) -> dict[str, float]:
        peak = moment.peak
        # Where weights are sharded, a part's gradients are not the kept ones yet.
        own = 0.0 if self._gathers else peak.gradients
        return self._components(
            gradients=gradients + own,
            activations=peak.saved,
            logits=moment.logits,
            buffers=peak.casts + peak.flying + peak.gradients - own,
        )

    @property
    def _gathers(self) -> bool:
        return self.sharding.gathers != "never"

    def _backward(self, all_gradients: float, before: float) -> dict[str, float]:
        """Gradients add up from the last part to the first, where they are not there already."""
        if self.facts.optimizer.in_backward:
            return self._moment(max(self.passes.backward_alone, key=lambda m: m.fixed), 0.0)
        if self.sharding.gradients_live == "from_backward":
            before = max(before, all_gradients)
        if before and not self._gathers:
            candidates, share = self.passes.backward_alone, 0.0
        else:
            candidates = self.passes.backward
            share = 0.0 if before else all_gradients / self._whole_gradients()
        buckets = self._bucket_bytes()

        def extra(moment: Moment) -> float:
            """Buckets are made when the first gradient of a parameter comes."""
            return share * moment.done + (0.0 if moment.logits else buckets)

        copied = min(self.sharding.last_copy_elements, self.inventory.trained) * FLOAT32
        after = Moment(Peak(flying=copied), 0.0, 0.0)
        worst = max((*candidates, after), key=lambda moment: moment.fixed + extra(moment))
        components = self._moment(worst, before + share * worst.done)
        components["buffers"] += 0.0 if worst.logits else buckets
        return components

    def _bucket_bytes(self) -> float:
        sharding, item = self.sharding, self.situation.compute_bytes
        if not sharding.buckets:
            return 0.0
        most = min(sharding.bucket_elements, self.inventory.trained)
        reduced = max(most, self.inventory.largest_trained)
        copies = item if item == FLOAT32 else item + FLOAT32
        return sharding.buckets * sharding.bucket_elements * item + reduced * copies

    def _update(self, all_gradients: float) -> dict[str, float]:
        if self.facts.optimizer.in_backward:
            all_gradients = self.states.largest_update * self.situation.master_bytes
        return self._components(all_gradients, 0.0, 0.0, self._update_bytes())

    def _components(
        self, gradients: float, activations: float, logits: float, buffers: float
    ) -> dict[str, float]:
        states, sharding = self.states, self.sharding
        kept = self._batch_bytes() + sum(self.facts.buffers.values())
        kept += self._transfer_bytes() * (2 if self.on_cpu else 1)
        return {
            "weights": self._on_device(states.weights, sharding.weights_on),
            "gradients": gradients,
            "master_weights": self._on_device(states.master_weights, sharding.optimizer_on),
            "optimizer": self._on_device(states.optimizer, self._states_on()),
            "activations": activations,
            "logits": logits,
            "buffers": buffers + kept,
        }

    # -- parts ------------------------------------------------------------------------------------

    def _on_device(self, size: float, place: Place) -> float:
        """Bytes of what is kept in a place; the memory of a CPU is that of its host."""
        return size if place == "device" or (place == "host" and self.on_cpu) else 0.0

    def _states_on(self) -> Place:
        return "host" if self.facts.optimizer.paged else self.sharding.optimizer_on

    def _has_buckets(self) -> bool:
        """DDP, which the core's own engine is on more than one rank, has memory for all gradients."""
        return self.sharding.name == "default" and self.situation.ranks > 1

    def _device_gradients(self) -> float:
        return self._on_device(self.states.gradients, self.sharding.gradients_on)

    def _whole_gradients(self) -> float:
        """Of an unsharded model, in the dtype that the passes count in."""
        item = self.situation.master_bytes if self.sharding.casts else self.situation.compute_bytes
        return max(1.0, float(self.inventory.trained * item))

    def _transfer_bytes(self) -> float:
        return self.sharding.transfer_bytes * self.inventory.largest_trained

    def _batch_bytes(self) -> float:
        batch = self.situation.micro_batch
        positions = batch.tokens if self.facts.packed else 0
        return float(_INDEX_BYTES * (batch.tokens + positions + 2 * batch.supervised))

    def _update_bytes(self) -> float:
        optimizer, states, sharding = self.facts.optimizer, self.states, self.sharding
        largest = float(self.inventory.largest_trained)
        updated = min(sharding.update_copy_elements, self.inventory.trained / sharding.states_over)
        engine = max(sharding.norm_bytes * largest, sharding.update_copy_bytes * updated)
        return max(engine, self._optimizer_bytes(optimizer, states))

    def _optimizer_bytes(self, optimizer: Optimizer, states: States) -> float:
        if not self._on_device(1.0, self.sharding.optimizer_on):
            return 0.0
        if optimizer.name == "adamw" and self.situation.precision == "bf16_fp32_states":
            return _FLOAT32_UPDATE * FLOAT32 * states.largest_update
        if optimizer.updates_at_once == "all":
            return optimizer.step_bytes * self.inventory.trained / self.sharding.states_over
        return optimizer.step_bytes * states.largest_update

    def _at(self, place: Place) -> float:
        """Bytes of states that an engine keeps somewhere else."""
        states, sharding = self.states, self.sharding
        total = states.weights if sharding.weights_on == place else 0.0
        total += states.gradients if sharding.gradients_on == place else 0.0
        total += states.master_weights if sharding.optimizer_on == place else 0.0
        return total + (states.optimizer if self._states_on() == place else 0.0)

    def _checkpoint_bytes(self) -> float:
        """Weights in the master dtype and moments of what is trained, of all ranks."""
        optimizer = self.facts.optimizer
        moment = self.situation.state_bytes if optimizer.moment_bytes is None else optimizer.moment_bytes
        master = FLOAT32 if self.sharding.master_bytes else self.situation.master_bytes
        return self.inventory.trained * (master + optimizer.moments * moment)

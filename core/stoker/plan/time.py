"""How long a step and a run take: executed FLOPs at what a GPU attains, bytes at its bandwidths.

A micro-batch takes the sum of its matrix products, its attention, and the traffic of everything between
them through device memory; exchanges run beside that and partly show. A step adds the update and what
happens once. MFU counts what forward and backward need without recomputation, HFU what is executed
(Chowdhery et al. 2022; Korthikanti et al. 2022), both over the data sheet's FLOPs and the whole step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from stoker.plan.attained import Attained, attained
from stoker.plan.communication import PCIE_SHARE, count_traffic
from stoker.plan.flops import Work, count_work, evaluation_work
from stoker.plan.gpus import CPU
from stoker.plan.trained import trained_set

if TYPE_CHECKING:
    from stoker.plan.facts import Facts
    from stoker.plan.situation import MicroBatch, Situation

COMPILED_MOVES = 0.62
"""Of the moves without compilation: what torchtitan's two rows of Llama 3.1 8B on eight H100 imply."""
UNPACKING_SHARE = 0.27
"""Of the memory bandwidth, by unpacking 4-bit weights: litgpt's Llama 2 7B on an A10G takes 0.20 s more
for a micro-batch with QLoRA than with LoRA, for two passes over 6.5e9 weights."""
UPDATE_SHARE = 0.8
"""Of the memory bandwidth, by a fused optimizer."""
EAGER_ATTENTION = 0.5
"""Of a fused kernel's speed, where scores are written and read again."""
LAUNCH_SECONDS = 3e-4
"""For a block and a pass: some sixty kernels, each of a few microseconds of the processor's time. Only
where the device is faster than that; an order of magnitude."""


PARTS = ("compute", "communication", "offload", "update", "input")
"""What the seconds of a step are spent on, by the names that `TimeEstimate` has for them."""
_FLOAT32 = 4


@dataclass(frozen=True)
class Span:
    """A value between two others."""

    low: float
    mid: float
    high: float

    def times(self, factor: float) -> Span:
        """All three times `factor`."""
        return Span(self.low * factor, self.mid * factor, self.high * factor)

    def plus(self, amount: float) -> Span:
        """All three and `amount` more."""
        return Span(self.low + amount, self.mid + amount, self.high + amount)


@dataclass(frozen=True)
class Calibration:
    """What a machine has shown of itself."""

    ratio: float
    """Measured over predicted time of a step."""
    spread: float
    """Share by which the measured runs differed from `ratio`."""
    runs: int = 0
    """Whole runs behind it; 0: a calibration on its own."""
    matmul_flops: float | None = None
    """Measured, in the regime's compute dtype."""
    memory_bandwidth: float | None = None


@dataclass(frozen=True)
class Load:
    """What a run reads and does besides training steps."""

    steps: int
    micro_batch: MicroBatch | None = None
    """The mean one; None: the situation's, which is the largest."""
    tokens_per_step: float | None = None
    """Without padding, over all ranks; None: all positions."""
    evaluations: int = 0
    evaluation_micro_batches: float = 0.0
    """Of one rank, in one evaluation."""
    checkpoints: int = 0
    start_seconds: float = 0.0
    """From the command to the first step: loading, tokenising, compiling."""
    input_seconds: float = 0.0
    """For a step, of reading that no other work hides."""
    error: float = 0.0
    """Relative error of the number of tokens; it widens the range."""


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of a step, by what they are spent on, and of the run."""

    step_seconds: Span
    run_seconds: Span
    compute: float
    """Of a step: matrix products, attention, memory traffic between them."""
    communication: float
    """Of a step: exchanges with other ranks that computation does not hide."""
    offload: float
    """Of a step: to the host, on the host and back, as far as it shows."""
    update: float
    """Of a step: the optimizer on the device."""
    input: float
    evaluation: float
    """Of all evaluations together."""
    checkpoint: float
    """Of all checkpoints together: training stands still while state is copied to the host."""
    tokens_per_second: Span
    """Without padding, over all ranks, while it trains."""
    mfu: float
    hfu: float
    calibrated_runs: int = 0
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> Span:
        """Of the run, evaluations and checkpoints included."""
        return self.run_seconds.times(1 / 3600)


def estimate_time(
    situation: Situation,
    facts: Facts,
    load: Load,
    calibration: Calibration | None = None,
    constants: Attained | None = None,
) -> TimeEstimate:
    """The time of `load.steps` steps. `constants` stand for those of the GPU's type."""
    shares = constants or attained(situation.gpu.name)
    rates = _rates(situation, facts, shares, calibration)
    batch = load.micro_batch or situation.micro_batch
    work = count_work(situation, facts, batch)
    traffic = count_traffic(situation, facts, work)
    accumulation = situation.accumulation
    computed = rates.seconds(work)
    shown = _shown(computed, traffic.micro_batch, shares.exposed) + traffic.first_and_last
    offloaded = _shown(computed, traffic.host_micro_batch, shares.exposed)
    compute = accumulation * computed
    communication = accumulation * shown + _shown(computed, traffic.step, shares.exposed)
    offload = accumulation * offloaded + traffic.host_step
    update = _update_seconds(situation, facts, rates)
    step = compute + communication + offload + update + load.input_seconds
    ratio = calibration.ratio if calibration else 1.0
    spread = math.hypot(calibration.spread if calibration else shares.spread, load.error)
    steps = Span(step * ratio / (1 + spread), step * ratio, step * ratio * (1 + spread))
    evaluation = 0.0
    if forwards := load.evaluations * load.evaluation_micro_batches:
        evaluation = forwards * rates.seconds(evaluation_work(situation, facts, batch)) * ratio
    checkpoint = load.checkpoints * _copy_seconds(situation, facts)
    tokens = load.tokens_per_step or float(batch.tokens * situation.ranks * accumulation)
    peak = _peak(situation) * steps.mid / accumulation
    return TimeEstimate(
        step_seconds=steps,
        run_seconds=steps.times(load.steps).plus(evaluation + checkpoint + load.start_seconds),
        compute=compute * ratio,
        communication=communication * ratio,
        offload=offload * ratio,
        update=update * ratio,
        input=load.input_seconds * ratio,
        evaluation=evaluation,
        checkpoint=checkpoint,
        tokens_per_second=Span(tokens / steps.high, tokens / steps.mid, tokens / steps.low),
        mfu=work.model_flops / peak,
        hfu=work.executed_flops / peak,
        calibrated_runs=calibration.runs if calibration else 0,
        notes=_notes(situation.gpu.name, shares, calibration),
    )


@dataclass(frozen=True)
class _Rates:
    """What a device does in a second."""

    matmul_flops: float
    attention_flops: float
    moved_bytes: float
    memory_bytes: float
    launch_seconds: float

    def seconds(self, work: Work) -> float:
        """Of one micro-batch, on the device alone."""
        return max(
            work.matmul_flops / self.matmul_flops
            + work.attention_flops / self.attention_flops
            + work.moved_bytes / self.moved_bytes
            + work.unpacked_bytes / (self.memory_bytes * UNPACKING_SHARE),
            work.layer_passes * self.launch_seconds,
        )


def _rates(
    situation: Situation, facts: Facts, shares: Attained, calibration: Calibration | None
) -> _Rates:
    peak = _peak(situation)
    measured = calibration.matmul_flops if calibration else None
    bandwidth = (calibration and calibration.memory_bandwidth) or situation.gpu.memory_bandwidth
    is_compiled = facts.compiled != "no"
    moves = shares.moves * (COMPILED_MOVES if is_compiled else 1.0)
    attention = shares.attention * (1.0 if facts.attention != "eager" else EAGER_ATTENTION)
    return _Rates(
        matmul_flops=measured or peak * shares.matmul,
        attention_flops=(measured / shares.matmul if measured else peak) * attention,
        moved_bytes=bandwidth / moves,
        memory_bytes=bandwidth,
        launch_seconds=0.0 if is_compiled or situation.gpu.name == CPU else LAUNCH_SECONDS,
    )


def _peak(situation: Situation) -> float:
    """FLOPs a second of the data sheet in the compute dtype."""
    gpu = situation.gpu
    return gpu.fp32_flops if situation.compute_bytes == _FLOAT32 and gpu.fp32_flops else gpu.bf16_flops


def _shown(computed: float, exchanged: float, exposed: float) -> float:
    """Seconds of an exchange that are added to `computed`."""
    return max(0.0, exchanged - computed) + exposed * min(computed, exchanged)


def _update_seconds(situation: Situation, facts: Facts, rates: _Rates) -> float:
    """Weights, gradients and moments through memory, each read and all but gradients written."""
    if facts.sharding.optimizer_on != "device":
        return 0.0
    own = trained_set(situation.architecture, facts).elements / max(1, facts.sharding.states_over)
    optimizer, sharding = facts.optimizer, facts.sharding
    moment_bytes = sharding.state_bytes or situation.state_bytes
    if optimizer.moment_bytes is not None:
        moment_bytes = optimizer.moment_bytes
    weight_bytes = sharding.master_bytes or situation.master_bytes
    each = 2 * weight_bytes + situation.master_bytes + 2 * optimizer.moments * moment_bytes
    return own * (each + optimizer.step_bytes) / (rates.memory_bytes * UPDATE_SHARE)


def _copy_seconds(situation: Situation, facts: Facts) -> float:
    """Copying a rank's part of the state to the host: the stall of one checkpoint."""
    elements = trained_set(situation.architecture, facts).elements
    own = elements / max(1, facts.sharding.states_over)
    optimizer = facts.optimizer
    item = situation.state_bytes if optimizer.moment_bytes is None else optimizer.moment_bytes
    size = own * (situation.master_bytes + optimizer.moments * item)
    return size / (situation.gpu.host_bandwidth * PCIE_SHARE)


@lru_cache(maxsize=64)
def _notes(gpu: str, shares: Attained, calibration: Calibration | None) -> tuple[str, ...]:
    if calibration:
        plural = "s" if calibration.runs > 1 else ""
        runs = f"{calibration.runs} run{plural} on" if calibration.runs else "a measurement of"
        return (f"time: calibrated from {runs} this machine, within {calibration.spread:.0%}.",)
    if gpu == CPU:
        return ("time: the speed of this machine has not been measured; `stoker calibrate` does.",)
    if not shares.is_fitted:
        spread = f"{shares.spread:.0%}"
        return (f"time: no published run on {gpu} stands behind it; it may be off by {spread}.",)
    return (f"time: from published runs; nine in ten were within {shares.spread:.0%}.",)

"""How long the plan takes: one estimate, and the comparison of every strategy on every GPU.

python benchmarks/plan.py [--model llama-3-8b] [--rounds 5]

With all installed plugins, in one process, after the modules are imported; processor time. Needs no
torch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from stoker.matrix import Classes
from stoker.plan.architecture import read_architecture
from stoker.plan.compare import compare
from stoker.plan.facts import Facts
from stoker.plan.gpus import find_gpu, known_gpus
from stoker.plan.memory import estimate_memory
from stoker.plan.models import find_model_config
from stoker.plan.prices import load_prices
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.strategies import Question
from stoker.plan.time import Load, estimate_time
from stoker.registry import installed_plugins, load_plugin_class

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
BATCH_SIZE = 256


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3-8b")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    classes: Classes = {name: load_plugin_class(name) for name in installed_plugins()}
    config = find_model_config(options.model)

    def one() -> int:
        architecture = read_architecture(config)
        batch = MicroBatch(4, 2048, 4 * 2048, 2048)
        situation = Situation(architecture, "bf16_mixed", batch, find_gpu("h100-80gb"), ranks=8)
        estimate_memory(situation, Facts())
        estimate_time(situation, Facts(), Load(steps=1000))
        return 1

    def all_of_them() -> int:
        question = Question(
            architecture=read_architecture(config),
            precision="bf16_mixed",
            batch_size=BATCH_SIZE,
            micro_batch=lambda rows, ranks: MicroBatch(rows, 2048, rows * 2048, 2048),
            load=Load(steps=1000),
            gpus=tuple(known_gpus().values()),
            counts=COUNTS,
            prices=load_prices(),
        )
        return compare(question, classes).considered

    measure("one estimate of memory and time", one, options.rounds)
    measure("the comparison", all_of_them, options.rounds)


def measure(name: str, work: Callable[[], int], rounds: int) -> None:
    """Run and print; nothing is remembered from one round to the next but what modules keep."""
    seconds, number = [], 0
    for _ in range(rounds):
        start = time.process_time()
        number = work()
        seconds.append(time.process_time() - start)
    median = statistics.median(seconds)
    print(
        f"{name}: {number} in {median * 1e3:.1f} ms (first {seconds[0] * 1e3:.1f} ms), "
        f"{median / number * 1e6:.0f} us each; 10,000 in {median / number * 1e4:.2f} s"
    )


if __name__ == "__main__":
    main()

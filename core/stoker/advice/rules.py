"""The decision tree: what to train, as a table of rules of which the first that holds decides.

The guide asks five questions in a row and leaves open what counts when two answers disagree. Decided
here, once:

* Raw text comes first. The guide's limit of 50,000 is about examples that a model could learn by heart;
  documents of continued pre-training are counted in tokens, and its result is a base, on which adapters
  for many tasks can be trained afterwards. So it overrules `few-examples` and `many-tasks`. On few GPUs
  the planner decides whether full fine-tuning fits, not their number; if it does not, an adapter is
  what is left, and the answer says so.
* Many tasks come before the number of examples: that adapters can be swapped does not depend on it.
* Few examples overrule a domain shift: with them full fine-tuning overfits before it has shifted.
* Fewer GPUs than the guide's four overrule a domain shift, even where the planner finds a way: what
  full fine-tuning gains there is to be measured against an adapter first. It is on the ladder.
* Between 50,000 and 100,000 examples, and above without a domain shift, the last rule decides: an
  adapter first. From 100,000 on the answer names full fine-tuning as the next thing to try.

The numbers are the guide's, from `stoker.plan.guide`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stoker.advice.question import Question
from stoker.plan.guide import GUIDE

Training = Literal["full", "adapter"]

A100_BYTES = 39e9
"""Memory from which a GPU counts as one of the guide's A100s, of which the smaller have 40 GB."""


@dataclass(frozen=True)
class Asked:
    """A question with what is known of its GPU."""

    question: Question
    gpu_bytes: float

    @property
    def large_gpus(self) -> int:
        """GPUs with at least the memory of an A100."""
        return self.question.gpus if self.gpu_bytes >= A100_BYTES else 0


@dataclass(frozen=True)
class Rule:
    """One question of the tree."""

    name: str
    asks: str
    holds: Callable[[Asked], bool]
    trains: Training
    because: str
    """Why, where it decides: the rest of a sentence after what is trained."""


TREE: tuple[Rule, ...] = (
    Rule(
        "raw-text",
        "Is this continued pre-training on raw text?",
        lambda asked: asked.question.continued_pretraining,
        "full",
        "new knowledge from raw text goes into all weights; an adapter has too few of them",
    ),
    Rule(
        "many-tasks",
        "Are there several tasks or tenants on one base?",
        lambda asked: asked.question.multi_task,
        "adapter",
        "adapters of many tasks share one base in memory and can be swapped",
    ),
    Rule(
        "few-examples",
        f"Are there fewer than {GUIDE.few_examples:,} examples?",
        lambda asked: asked.question.examples < GUIDE.few_examples,
        "adapter",
        "with so few examples full fine-tuning overfits more easily",
    ),
    Rule(
        "few-gpus",
        f"Are there fewer than {GUIDE.tree_gpus} GPUs with the memory of an A100?",
        lambda asked: asked.large_gpus < GUIDE.tree_gpus,
        "adapter",
        "full fine-tuning wants more GPUs than there are",
    ),
    Rule(
        "domain-shift",
        "Is it a major shift of domain, such as another language?",
        lambda asked: asked.question.domain_shift,
        "full",
        "a major shift of domain likely needs all weights, and there are examples and GPUs for it",
    ),
    Rule(
        "start-simple",
        "Does nothing else decide?",
        lambda asked: True,
        "adapter",
        "an adapter is likely enough; take more only with evidence that it is what limits",
    ),
)


@dataclass(frozen=True)
class Step:
    """A rule and what became of it."""

    rule: Rule
    holds: bool
    decides: bool


@dataclass(frozen=True)
class Decision:
    """What to train, with all rules in the order in which they were asked."""

    rule: Rule
    trace: tuple[Step, ...]

    @property
    def trains(self) -> Training:
        """What the rule says."""
        return self.rule.trains

    @property
    def overruled(self) -> tuple[Rule, ...]:
        """Rules that hold too and say something else."""
        return tuple(
            step.rule
            for step in self.trace
            if step.holds and not step.decides and step.rule.trains != self.trains
        )


def decide(asked: Asked) -> Decision:
    """Ask all rules of the tree; the first that holds decides."""
    answers = [(rule, rule.holds(asked)) for rule in TREE]
    deciding = next(rule for rule, holds in answers if holds)
    trace = tuple(Step(rule, holds, rule is deciding) for rule, holds in answers)
    return Decision(deciding, trace)

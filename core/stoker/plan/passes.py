"""The worst times of the forward and backward of one micro-batch, by component. Torch-free.

Nothing here depends on the number of ranks or on who keeps gradients and states, so that one `Passes`
serves many plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from stoker.plan.gathering import Gathered, Gathering
from stoker.plan.inventory import take_inventory
from stoker.plan.values import Moment, Peak, add
from stoker.plan.written import Setup, Written, write_model


@dataclass(frozen=True)
class Passes:
    """The worst times of forward, loss and backward."""

    forward: Moment
    loss: Moment
    backward: tuple[Moment, ...]
    """Candidates, where gradients add up as it goes on."""
    backward_alone: tuple[Moment, ...]
    """Where all gradients have their memory anyway: the worst with logits, and without."""
    on_host: float
    """Activations that wait in host memory."""


@lru_cache(maxsize=4096)
def run_passes(setup: Setup, gathering: Gathering | None) -> Passes:
    """Walk through the model, with the weights that an engine gathers on the way."""
    written = write_model(setup)
    gathered = Gathered(take_inventory(setup.architecture, setup.method), gathering)
    walk = _Walk(written, gathered)
    return Passes(
        forward=walk.forward(),
        loss=walk.loss(),
        backward=_hull(walk.backward(alone=False)),
        backward_alone=_worst_two(walk.backward(alone=True)),
        on_host=sum(layer.on_host for layer in written.layers),
    )


class _Walk:
    """Walks through the model forward and back, and looks at every place where memory may be fullest."""

    def __init__(self, written: Written, gathered: Gathered) -> None:
        self.layers = written.layers
        self.ending = written.ending
        self.embedding = written.embedding
        self.gathered = gathered
        self.tables = Peak(saved=written.tables)
        self.held = written.held
        self.in_forward = self.tables
        self.in_backward = self.tables
        """Autocast has forgotten the copies that nobody saved."""
        self.stack: list[Peak] = []

    def forward(self) -> Moment:
        """The worst time until the model returns its logits."""
        found = []
        for number, layer in enumerate(self.layers):
            self.stack.append(self.in_backward)
            casts = layer.footprint.all_casts
            flying = layer.forward_peak - layer.kept + self.held + self.gathered.in_forward(number)
            found.append(Moment(add(self.in_forward, Peak(layer.kept, casts, flying)), 0.0, 0.0))
            self.in_forward = add(self.in_forward, Peak(layer.kept, casts))
            self.in_backward = add(self.in_backward, Peak(layer.kept, layer.casts))
        in_norm, *at_head = self.ending.forward
        found.append(_on_top(self.in_forward, in_norm, self.gathered.before_head()))
        found += [_on_top(self.in_forward, each, self.gathered.at_logits()) for each in at_head]
        return max(found, key=lambda moment: moment.fixed)

    def loss(self) -> Moment:
        """While the loss is computed."""
        return _on_top(self.in_forward, self.ending.loss, self.gathered.in_loss())

    def backward(self, *, alone: bool) -> list[Moment]:
        """Every candidate; `alone`: gradients of parameters have their memory anyway."""
        gathered, ending = self.gathered, self.ending
        *in_loss, in_head = ending.backward_alone if alone else ending.backward
        found = [_on_top(self.in_backward, moment, gathered.in_loss()) for moment in in_loss]
        found.append(_on_top(self.in_backward, in_head, gathered.in_head_backward()))
        waiting = gathered.waiting_in_backward()
        done = 0.0 if waiting else ending.gradients
        reduced = gathered.after_head_backward()
        found.append(Moment(add(self.in_backward, Peak(flying=reduced + ending.source)), 0.0, 0.0))
        for number in reversed(range(len(self.layers))):
            layer, under = self.layers[number], self.stack[number]
            inside = layer.backward_alone if alone else layer.backward
            extra = Peak(flying=gathered.in_backward(number) + waiting)
            found.append(Moment(add(add(under, inside), extra), 0.0, done))
            reduced = gathered.after_backward(number) + waiting + layer.source
            found.append(Moment(add(under, Peak(flying=reduced)), 0.0, done))
            done += layer.footprint.gradients
        last = add(self.tables, self.embedding)
        return [*found, Moment(add(last, Peak(flying=gathered.at_the_end())), 0.0, done)]


def _on_top(below: Peak, moment: Moment, gathered: float) -> Moment:
    return moment._replace(peak=add(add(below, moment.peak), Peak(flying=gathered)))


def _worst_two(moments: Sequence[Moment]) -> tuple[Moment, ...]:
    kinds = ([m for m in moments if m.logits], [m for m in moments if not m.logits])
    return tuple(max(kind, key=lambda moment: moment.fixed) for kind in kinds if kind)


def _hull(moments: Sequence[Moment]) -> tuple[Moment, ...]:
    """Those that are the worst for some share of `done` between nothing and all of it."""
    hull: list[Moment] = []
    for moment in sorted(moments, key=lambda each: (each.done, each.fixed)):
        while hull and hull[-1].fixed <= moment.fixed:
            hull.pop()
        while len(hull) >= 2 and _lies_under(hull[-2], hull[-1], moment):
            hull.pop()
        hull.append(moment)
    return tuple(hull)


def _lies_under(first: Moment, middle: Moment, last: Moment) -> bool:
    """Whether the middle one is below the line between the others: never the worst."""
    share = (middle.done - first.done) / (last.done - first.done)
    return middle.fixed <= first.fixed + share * (last.fixed - first.fixed)

"""The plugin on a tiny real run, from stoker's test kit."""

from __future__ import annotations

from stoker_loss_printer import LossPrinter

from stoker.testing import tiny_fit


def printer(**options):
    return LossPrinter(LossPrinter.Config(**options))


def test_it_prints_the_mean_loss_at_every_second_log_point(tmp_path, capsys):
    fit = tiny_fit(tmp_path, {"loss_printer": printer(every=2)}, ["train.steps=4"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "loss printer" in line]
    first, second = sum(fit.losses[:2]) / 2, sum(fit.losses[2:]) / 2
    assert lines == [
        f"loss printer: step 2: {first:.4f}",
        f"loss printer: step 4: {second:.4f} ({second - first:+.4f})",
    ]


def test_its_state_survives_a_checkpoint():
    before, after = printer(every=3), printer(every=3)
    before.num_log_points, before.losses, before.previous = 4, [2.5], 3.0
    after.load_state(before.save_state())
    assert (after.num_log_points, after.losses, after.previous) == (4, [2.5], 3.0)

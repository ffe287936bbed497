"""The test kit for plugin authors: a tiny real run, and the order in which hooks were called.

::

    from stoker.testing import tiny_fit

    def test_my_plugin_sees_the_loss(tmp_path):
        plugin = MyPlugin(MyPlugin.Config())
        fit = tiny_fit(tmp_path, {"my_plugin": plugin}, ["train.steps=3"])
        assert fit.timeline.count("on_log") == 3
        assert [event["loss"] for event in fit.of_kind("step")] == plugin.losses

The model is a two-layer Llama with random weights and a byte tokenizer, the data twenty short
questions and answers; everything else is the code that trains real models. Seconds on a CPU.
"""

from stoker.testing.fit import Fit, tiny_fit, tiny_recipe
from stoker.testing.manifests import rewrite_manifest
from stoker.testing.recorder import Recorder
from stoker.testing.tiny import write_tiny_data, write_tiny_model

__all__ = [
    "Fit",
    "Recorder",
    "rewrite_manifest",
    "tiny_fit",
    "tiny_recipe",
    "write_tiny_data",
    "write_tiny_model",
]

"""Which method, which strategy, which settings: a decision that can be read, checked by the planner.

`rules` asks what to train, `strategy` how to share it out, `search` takes the first that fits, `ladder`
prices what is below and above, `recipes` writes it down. Torch-free, and no plugin has a name here:
a choice is a value on an axis of `stoker.capabilities`.
"""

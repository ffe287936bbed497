"""Checks and plans recipes while they are written, in a process of its own: `python -m stoker.bench`.

Plugins are imported, may print and may crash there, and not where the recipe is written. Requests and
answers are JSON, one on a line: see `serve.py`. Torch-free.
"""

"""The version, in one place: hatchling reads it from here, run.json and manifests store it."""

__version__ = "0.1.0"

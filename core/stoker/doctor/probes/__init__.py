"""Modules that run as processes of their own: each prints one JSON value and ends."""

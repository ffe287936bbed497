"""Recipes while they are written: their text, their form, and what `stoker` says of them."""

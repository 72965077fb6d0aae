"""Policies: formulas of which one leaf learns, by reinforcement on any reward."""

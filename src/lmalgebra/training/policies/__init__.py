"""Policies from formulas: one term of a formula learns from rewards while the others stay as they are."""

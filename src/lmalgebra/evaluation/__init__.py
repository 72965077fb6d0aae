"""Evaluation: what voices say, measured so that two of them can be compared honestly."""

from lmalgebra.evaluation.settings import EvaluationSettings, load_settings

__all__ = ["EvaluationSettings", "load_settings"]

"""Training: what a formula's terms are made of. Libraries of the extra `train` are imported where used."""

from lmalgebra.training.classifier_settings import ClassifierSettings, load_settings

__all__ = ["ClassifierSettings", "load_settings"]

"""Classifiers from labelled or scored texts. Libraries of the extra `train` are imported where used."""

"""MAUVE: the package's own number of our features, and when there is none."""

import numpy as np
import pytest
import torch

from evaluation.conftest import answers
from lmalgebra.errors import EvaluationError, MissingExtraError
from lmalgebra.evaluation.measures.mauve import Mauve

mauve = pytest.importorskip("mauve")


class Seeded:
    """A vector drawn for each text."""

    def vectors(self, texts):
        return torch.tensor(np.stack([np.random.default_rng(len(text)).normal(size=4) for text in texts])).float()


def test_it_is_the_packages_number_of_our_features():
    said, written = [["a" * n] for n in range(1, 41)], [["b" * (n + 20)] for n in range(1, 41)]
    measured = Mauve("toy", lambda *_: Seeded()).measure(answers(*said, references=written))
    features = [Seeded().vectors([each[0] for each in texts]).numpy() for texts in (written, said)]
    expected = mauve.compute_mauve(p_features=features[0], q_features=features[1]).mauve
    assert measured.numbers == {"mauve": round(float(expected), 4)}
    assert measured.notes == ["MAUVE of 40 texts is unsteady; 1,000 and more are usual."]


def test_equal_texts_are_near(tmp_path):
    same = [["a" * n] for n in range(1, 41)]
    assert Mauve("toy", lambda *_: Seeded()).measure(answers(*same, references=same)).numbers["mauve"] > 0.99


def test_without_references_there_is_none():
    with pytest.raises(EvaluationError, match="needs at least 16 texts with references, and there are 0"):
        Mauve("toy").measure(answers(["a"]))


def test_a_package_that_is_missing_is_one_line_before_anything_is_said(monkeypatch):
    monkeypatch.setattr("lmalgebra.evaluation.measures.mauve.PACKAGE", "mauve-text-that-is-not-there")
    with pytest.raises(
        MissingExtraError, match=r"needs the package 'mauve-text-that-is-not-there'. Install it: pip install"
    ):
        Mauve("toy").about()

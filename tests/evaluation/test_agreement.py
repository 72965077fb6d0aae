"""Agreement of judges, against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from lmalgebra.evaluation.agreement import agreement


@pytest.mark.parametrize("seed", range(5))
def test_as_other_libraries_compute_it(seed):
    generator = np.random.default_rng(seed)
    ours = generator.random(60).round(1)  # rounded, so that there are ties
    theirs = (0.5 * ours + 0.5 * generator.random(60)).round(1)
    found = agreement(np.stack([ours, theirs], axis=1))
    assert found["texts"] == 60
    assert found["pearson"] == pytest.approx(stats.pearsonr(ours, theirs).statistic, abs=1e-4)
    assert found["spearman"] == pytest.approx(stats.spearmanr(ours, theirs).statistic, abs=1e-4)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(ours >= 0.5, theirs >= 0.5), abs=1e-4)


@pytest.mark.parametrize("pairs", [np.empty((0, 2)), np.array([[0.1, 0.9]]), np.array([[0.7, 0.9], [0.7, 0.9]])])
def test_what_never_changes_agrees_with_nothing(pairs):
    found = agreement(pairs)
    assert (found["pearson"], found["spearman"]) == (None, None)
    assert found["kappa"] in (None, 0)

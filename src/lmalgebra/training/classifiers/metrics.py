"""How good a classifier is on examples that it was not trained on, and the temperature that calibrates it.

Temperature scaling: Guo et al. 2017, arXiv 1706.04599, section 4.2; expected calibration error: the same, section 2,
with equal bins. To be honest about it, the error after scaling is of halves whose temperature the other half gave.
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

BINS = 15
"""Bins of equal width in which confidence is compared with outcome."""

TEMPERATURES = (0.05, 20.0)
"""Within which the best is looked for."""

LIKELY = 0.5
"""A score from here on counts as a yes where yes or no is asked."""


@dataclass(frozen=True)
class Judgement:
    """Logits `[examples, labels]` and targets `[examples]` (places, or scores where there is one label)."""

    logits: Numbers
    targets: Numbers

    @property
    def has_scores(self) -> bool:
        return self.logits.shape[1] == 1

    def half(self, which: int) -> "Judgement":
        """One of two halves, drawn once for all."""
        places = np.random.default_rng(0).permutation(len(self.targets))[which::2]
        return Judgement(self.logits[places], self.targets[places])

    def log_probabilities(self, temperature: float = 1.0) -> Numbers:
        """`[examples, labels]`; of a single label, that of its absence and its own, `[examples, 2]`."""
        logits = self.logits / temperature
        if self.has_scores:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        logits = logits - logits.max(axis=1, keepdims=True)
        normalised: Numbers = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return normalised

    def loss(self, temperature: float = 1.0) -> float:
        """Cross-entropy in nats, against scores as soft targets."""
        logprobs = self.log_probabilities(temperature)
        if self.has_scores:
            return float(-(self.targets * logprobs[:, 1] + (1 - self.targets) * logprobs[:, 0]).mean())
        return float(-logprobs[np.arange(len(logprobs)), self.targets.astype(int)].mean())

    def confidence(self, temperature: float = 1.0) -> tuple[Numbers, Numbers]:
        """What is compared in bins: of scores, the probability and the score; else of the likeliest label its
        probability and whether it was right."""
        probabilities = np.exp(self.log_probabilities(temperature))
        if self.has_scores:
            return probabilities[:, 1], self.targets
        right = probabilities.argmax(axis=1) == self.targets
        return probabilities.max(axis=1), right.astype(np.float64)


def calibration_error(confidence: Numbers, outcome: Numbers, bins: int = BINS) -> float:
    """The mean distance between confidence and outcome over bins of equal width, weighted by their examples."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums = np.bincount(places, weights=confidence - outcome, minlength=bins)
    return float(np.abs(sums).sum() / counts.sum())


def calibration_curve(confidence: Numbers, outcome: Numbers, bins: int = BINS) -> list[dict[str, float]]:
    """Of each bin that is not empty: its examples, their mean confidence and their mean outcome."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "examples": int((places == each).sum()),
            "confidence": round(float(confidence[places == each].mean()), 4),
            "outcome": round(float(outcome[places == each].mean()), 4),
        }
        for each in np.unique(places)
    ]


def best_temperature(judged: Judgement) -> float:
    """The temperature with the least loss. Needs scipy."""
    from scipy.optimize import minimize_scalar

    bounds = tuple(map(log, TEMPERATURES))
    found = minimize_scalar(lambda each: judged.loss(exp(each)), bounds=bounds, method="bounded")
    return float(exp(found.x))


def metrics(judged: Judgement) -> dict[str, float | None]:
    """Everything that is reported, rounded; None for what these examples do not define. Needs scikit-learn."""
    before = judged.confidence()
    halves = [judged.half(0), judged.half(1)]
    temperatures = [best_temperature(half) for half in halves] if len(judged.targets) > 1 else [1.0, 1.0]
    after = [half.confidence(other) for half, other in zip(halves, reversed(temperatures), strict=True)]
    scaled = [np.concatenate(each) for each in zip(*after, strict=True)]
    found = {"examples": len(judged.targets), "loss": judged.loss(), "accuracy": _accuracy(judged), "auc": _auc(judged)}
    if judged.has_scores:
        found |= _correlations(*before)
    found |= {
        "calibration_error": calibration_error(*before),
        "calibration_error_scaled": calibration_error(scaled[0], scaled[1]),
        "temperature": best_temperature(judged),
    }
    return {
        name: value if value is None or isinstance(value, int) else round(value, 4) for name, value in found.items()
    }


def _accuracy(judged: Judgement) -> float:
    """The share of right answers; of scores, of those on the right side of `LIKELY`."""
    if judged.has_scores:
        return float(((judged.logits[:, 0] >= 0) == (judged.targets >= LIKELY)).mean())
    return float((judged.logits.argmax(axis=1) == judged.targets).mean())


def _auc(judged: Judgement) -> float | None:
    """The probability that an example of the label is ranked above another; the mean over more than two labels."""
    from sklearn.metrics import roc_auc_score

    probabilities = np.exp(judged.log_probabilities())
    truth = judged.targets >= LIKELY if judged.has_scores else judged.targets.astype(int)
    if len(np.unique(truth)) < probabilities.shape[1]:
        return None
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(truth, probabilities[:, 1]))
    return float(roc_auc_score(truth, probabilities, multi_class="ovr"))


def _correlations(found: Numbers, wanted: Numbers) -> dict[str, float | None]:
    from scipy.stats import pearsonr, spearmanr

    if len(found) < 2 or np.ptp(found) == 0 or np.ptp(wanted) == 0:
        return {"pearson": None, "spearman": None}
    return {"pearson": float(pearsonr(found, wanted)[0]), "spearman": float(spearmanr(found, wanted)[0])}

"""Training a classifier of texts: a network with a fresh head, examples, and Transformers' Trainer.

In this order: 1. examples are read and some held out; 2. the network is loaded; 3. it is trained, with checkpoints;
4. the held-out examples are judged, which gives the metrics and the temperature; 5. the folder appears, whole.

The same settings and data give the same weights on the same machine, whether it was stopped in between or not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmalgebra.models.loading import quiet
from lmalgebra.models.sequence_classifier import SequenceClassifier
from lmalgebra.models.store import Report, silent
from lmalgebra.training.checkpoints import Stop, Workplace
from lmalgebra.training.classifiers.card import write_card
from lmalgebra.training.classifiers.data import Examples, read_examples, split
from lmalgebra.training.classifiers.metrics import Judgement, calibration_curve, metrics
from lmalgebra.training.classifiers.network import merged, missing_extra, open_network
from lmalgebra.training.classifiers.settings import ClassifierSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lmalgebra.training.following import Advance


@dataclass(frozen=True)
class Trained:
    """What came of a training: its folder, and the metrics of the held-out examples."""

    folder: Path
    metrics: dict[str, Any]


def train_classifier(
    settings: ClassifierSettings,
    *,
    resume: bool = False,
    report: Report = silent,
    advance: Advance = lambda step, steps, loss: None,
    stop: Stop = lambda: False,
) -> Trained:
    """Train a classifier and put it into `settings.output`; `resume` goes on with one that was stopped.

    Raises TrainingError for data or settings that cannot be used and a disk that is full, ModelError for a model that
    cannot be loaded, MissingExtraError for a library that is missing, Stopped when `stop` said so.
    """
    if find_spec("sklearn") is None:
        raise missing_extra("scikit-learn")
    from lmalgebra.training.classifiers.trainer import fit

    examples = read_examples(settings)
    kept, held_out = split(examples, settings.held_out, settings.seed)
    unknown = f"; {examples.unknown:,} whose {settings.target} is null are left out" if examples.unknown else ""
    report(f"{len(kept):,} examples to train on, {len(held_out):,} held out{unknown}.")
    with Workplace(settings.output, asdict(settings) | {"examples": _digest(examples)}, resume) as place:
        model, tokenizer = open_network(settings, examples.labels, report)
        with place.disk_errors(), quiet():
            losses = fit(model, tokenizer, kept, settings, place, advance, stop)
        report("Judging the held-out examples ...")
        network = merged(model)
        judged = _judge(network, tokenizer, held_out, settings.output)
        found = {"train": len(kept)} | metrics(judged)
        curves = {
            name: calibration_curve(*judged.confidence(temperature))
            for name, temperature in (("before", 1.0), ("after", found["temperature"]))
        }

        def build(folder: Path) -> None:
            with quiet():
                network.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
            write_card(folder, settings, examples, found, {"losses": losses, "calibration": curves})

        place.finish(build)
    return Trained(place.output, found)


def _judge(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Examples, source: str) -> Judgement:
    """What the network says of examples, computed as it will be when it is a term."""
    logits = SequenceClassifier(network.eval(), tokenizer, source).logits(examples.texts)
    return Judgement(logits.double().numpy(), np.array(examples.targets))


def _digest(examples: Examples) -> str:
    """Tells data apart, so that nothing goes on with others."""
    return hashlib.sha256(json.dumps(asdict(examples)).encode()).hexdigest()[:16]

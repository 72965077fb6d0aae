"""From logits to the log-probability of a label, worked by hand."""

import math

import pytest
import torch
from transformers import BertConfig

from lmalgebra.errors import ModelError
from lmalgebra.models.labels import Labels, labels_of

THREE = Labels(("sad", "neutral", "Glad"), exclusive=True)
ONE = Labels(("toxic",), exclusive=False)
LOGITS = torch.tensor([[0.0, math.log(2), math.log(5)], [1.0, 1.0, 1.0]])


def test_exclusive_labels_share_a_softmax():
    glad = THREE.log_probabilities(LOGITS, 2).exp()
    assert glad.tolist() == pytest.approx([5 / 8, 1 / 3])
    assert THREE.log_probabilities(LOGITS, 2, sign=-1).exp().tolist() == pytest.approx([3 / 8, 2 / 3])
    assert THREE.probabilities(LOGITS)[0].tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8])


def test_other_labels_have_a_sigmoid_each():
    several = Labels(("a", "b", "c"), exclusive=False)
    assert several.log_probabilities(LOGITS, 1).exp().tolist() == pytest.approx([2 / 3, 1 / (1 + math.exp(-1))])
    assert several.log_probabilities(LOGITS, 1, sign=-1).exp()[0].item() == pytest.approx(1 / 3)
    assert several.probabilities(LOGITS)[0].tolist() == pytest.approx([1 / 2, 2 / 3, 5 / 6])


@pytest.mark.parametrize("labels", [THREE, Labels(("a", "b", "c"), exclusive=False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_logits_that_are_all_but_certain_lose_no_digits(labels, sign):
    logits = torch.tensor([0.0, 0.0, 80.0 * -sign])
    expected = -80.0 if not labels.exclusive else -80.0 - sign * math.log(2)
    assert labels.log_probabilities(logits, 2, sign).item() == pytest.approx(expected)


@pytest.mark.parametrize(("label", "index"), [("sad", 0), ("glad", 2), ("GLAD", 2), ("1", 1)])
def test_a_label_is_named_or_numbered(label, index):
    assert THREE.index(label, "feelings") == index
    assert ONE.index("", "x") == 0


@pytest.mark.parametrize(
    ("label", "what"), [("angry", "has no label 'angry'"), ("3", "has no label '3'"), ("", "needs a label")]
)
def test_an_error_lists_the_labels(label, what):
    with pytest.raises(ModelError) as refusal:
        THREE.index(label, "feelings")
    assert str(refusal.value) == f"The classifier 'feelings' {what}. Its labels are: 0 'sad', 1 'neutral', 2 'Glad'."


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({"num_labels": 1}, Labels(("LABEL_0",), exclusive=False)),
        ({"id2label": {0: "no", 1: "yes"}}, Labels(("no", "yes"), exclusive=True)),
        ({"num_labels": 2, "problem_type": "multi_label_classification"}, Labels(("LABEL_0", "LABEL_1"), False)),
    ],
)
def test_what_a_config_says(settings, labels):
    config = BertConfig(**settings)
    assert labels_of(config, config.num_labels) == labels

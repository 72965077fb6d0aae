"""Baselines by TRL: which pairs they see, and that their folders are terms."""

import math

import pytest
import torch
from safetensors.torch import load_file

from lmalgebra.errors import MissingExtraError
from lmalgebra.training.checkpoints import Stopped
from lmalgebra.training.contrast.groups import Group
from lmalgebra.training.contrast.preferences import pairs
from lmalgebra.training.contrast.train import train_contrast
from training.contrast.spelled import settings


def test_each_text_stands_in_a_pair(tmp_path):
    groups = [Group("x", ("a", "b", "c"), ("d", "e"), "1"), Group("y", ("f",), (), "2")]
    found = [pair[1:] for pair in pairs(groups, settings(tmp_path, objective="dpo"))]
    assert found == [("a", "d"), ("b", "e"), ("c", "d")]
    found = pairs(groups, settings(tmp_path, objective="dpo", most_positives=1, most_negatives=1))
    assert [pair[1:] for pair in found] == [("a", "d")]


def test_without_trl_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("lmalgebra.training.contrast.preferences.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"The objective 'orpo' needs TRL, .* pip install 'lmalgebra\[trl\]'"):
        train_contrast(settings(tmp_path, objective="orpo"))


@pytest.mark.parametrize("objective", ["dpo", "simpo", "orpo"])
def test_positives_become_likelier_than_negatives(tmp_path, objective):
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    beta = {"simpo": 2.0}.get(objective, 0.1)
    chosen = settings(tmp_path, objective=objective, beta=beta, steps=20, evaluate_steps=10, prompt="{{ anchor }}. ")
    trained = train_contrast(chosen)
    assert trained.after["margin"] > trained.before["margin"] + 0.1
    assert math.isfinite(trained.after["positive_perplexity"])
    assert (trained.folder / "adapter_model.safetensors").exists()


def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path):
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    chosen = settings(tmp_path, objective="dpo", beta=0.2)
    with pytest.raises(Stopped):
        train_contrast(chosen, stop=lambda: True)
    again = train_contrast(chosen, resume=True)
    whole = train_contrast(settings(tmp_path, objective="dpo", beta=0.2, output=str(tmp_path / "whole")))
    one, other = (load_file(each.folder / "adapter_model.safetensors") for each in (whole, again))
    assert all(torch.equal(one[key], other[key]) for key in one)

"""Settings by name: what is refused, and in which words."""

import pytest

from lmalgebra.errors import TrainingError
from lmalgebra.training.contrast.settings import CHOICES, ContrastSettings, load_settings

NEEDED = {"data": "d", "model": "m", "output": "o"}


def test_the_first_of_several_names_is_the_default():
    settings = ContrastSettings(**NEEDED)
    assert {name: known[0] for name, known in CHOICES.items()} == {name: getattr(settings, name) for name in CHOICES}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective": "contrasts"}, "There is no objective 'contrasts'. Use contrast, positives, negatives, dpo"),
        ({"phi": "nll"}, "There is no phi 'nll'. Use log-perplexity, perplexity."),
        ({"tau": 0}, "tau = 0.0 is out of range."),
        ({"alpha": "much"}, "alpha = 'much' is not a number."),
        ({"trackers": ["mlflow"]}, "There is no tracker 'mlflow'. Use none, tensorboard, wandb, trackio."),
        ({"objective": "positives", "tau": 2}, "tau is nothing to the objective 'positives'."),
        ({"objective": "dpo", "random_negatives": 2}, "random_negatives is nothing to the objective 'dpo'."),
        (
            {"objective": "dpo", "end_token": True},
            "end_token is nothing to the objective 'dpo', where texts always end.",
        ),
        ({"beta": 2}, "beta is nothing to the objective 'contrast'. It is for dpo, simpo and orpo"),
        ({"method": "full", "rank": 4}, "rank is nothing to the method 'full'. It is for lora and qlora"),
        ({"loss": "softmax", "distance": "signed"}, "distance = 'signed' is not for loss = 'softmax'."),
        ({"data": ""}, "data is empty."),
        ({"positives": ["a", ""]}, "positives is empty."),
        ({"utility_limit": 0.5}, "utility_limit = 0.5 is out of range."),
    ],
)
def test_what_cannot_be_is_one_sentence(changes, sentence):
    with pytest.raises(TrainingError) as error:
        ContrastSettings(**NEEDED | changes)
    assert str(error.value).startswith(sentence)


def test_a_file_with_options_in_its_place(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('data = ["a", "b"]\nmodel = "m"\noutput = "o"\ntau = 2\nprototype_gradient = false\n')
    settings = load_settings(file, {"tau": 0.5})
    assert (settings.data, settings.tau, settings.prototype_gradient) == (("a", "b"), 0.5, False)
    file.write_text("taw = 2\n")
    with pytest.raises(TrainingError, match=r"has no setting 'taw'. Did you mean 'tau'?"):
        load_settings(file, {})
    with pytest.raises(TrainingError, match=r"data is not given. Add --data"):
        load_settings(None, {})

"""Settings of policy training: what cannot be is one sentence."""

import pytest

from lmalgebra.errors import TrainingError
from lmalgebra.training.policies.settings import AdapterSettings, load_settings

NEEDED = {"prompts": "p.jsonl", "reward": "length(9)", "output": "out", "model": "toy"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": ""}, "Neither voice nor model is given. Name the voice file, or the model of its terms."),
        ({"voice": "v.toml"}, "Both voice and model are given. Name the voice file, or the model of its terms."),
        ({"objective": "dpo"}, "objective = 'dpo' is unknown. Known: quark, rloo, ppo, grpo."),
        ({"objective": "rloo", "samples": 1}, "'rloo' compares completions of one prompt. Raise samples to 2 or more."),
        (
            {"objective": "ppo", "top_p": 0.9},
            "'ppo' learns from what the policy itself says, not at top_p = 0.9. Leave top_p out, or use quark.",
        ),
        (
            {"controls": ("a", "a")},
            "controls must be two or more, all different. Leave them out, or name every quantile's.",
        ),
        ({"gamma_target": 1.0}, "gamma = 0 cannot follow gamma_target. Begin with a small gamma."),
        ({"layers": 2}, 'layers and hidden_size are of new models. Leave them out, or use kind = "model".'),
        ({"steps": 0}, "steps = 0 is out of range. Give at least 1."),
        ({"rank": "8"}, "rank = '8' is not a whole number. Give a whole number."),
        ({"output": ""}, "output is empty. Give it a value."),
    ],
)
def test_what_cannot_be(changes, sentence):
    with pytest.raises(TrainingError) as refusal:
        AdapterSettings(**NEEDED | changes)
    assert str(refusal.value) == sentence


def test_a_task_gives_what_is_not_given():
    found = load_settings("toxicity", {"prompts": "mine.jsonl", "model": "toy", "output": "out"})
    assert (found.prompts, found.max_new_tokens, found.evaluate_suite) == ("mine.jsonl", 20, "toxicity")


def test_a_file_is_read_and_what_is_given_replaces_it(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text("prompts = 'p.jsonl'\nreward = 'length(9)'\noutput = 'out'\nmodel = 'toy'\nsteps = 3\nbeta = 1\n")
    found = load_settings(str(file), {"steps": 5})
    assert (found.steps, found.beta, found.best_control) == (5, 1.0, "Quality 5 of 5.\n")
    with pytest.raises(TrainingError, match=r"has no setting 'step'\. Did you mean 'steps'"):
        load_settings(str(file), {"step": 5})


def test_only_what_decides_the_trajectory_is_compared():
    assert "output" not in AdapterSettings(**NEEDED).decisive
    assert AdapterSettings(**NEEDED).decisive["beta"] == 0.05

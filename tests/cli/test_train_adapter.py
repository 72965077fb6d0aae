"""`lmalgebra train adapter`: from settings to a folder that speaks, and what is said on the way."""

import json
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from cli.conftest import stop_a_training
from lmalgebra.cli.train_adapter import SETTINGS
from lmalgebra.training.policies.settings import CONTROLS, AdapterSettings
from tiny_classifiers import llama, save_language_model
from training.policies.runs import PROMPTS, REWARD

DOC = Path(__file__).parents[2] / "docs" / "policy-adapters.md"


@pytest.fixture
def config(tmp_path):
    """A file of settings for a training of seconds."""
    save_language_model(tmp_path / "letters", llama())
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": each}) + "\n" for each in PROMPTS))
    file = tmp_path / "t.toml"
    file.write_text(
        'prompts = "prompts.jsonl"\nreward = "length(2)"\nmodel = "./letters"\noutput = "out"\nheld_out = 0.25\n'
        'steps = 2\nprompts_per_step = 4\nsamples = 4\nmax_new_tokens = 4\nmax_kl = 0.0\ncontrols = ["bad ", "good "]\n'
        'device = "cpu"\ntrackers = "none"\nlearning_rate = 0.01\n'
    )
    return file


def test_every_setting_is_an_option_with_its_default():
    known = {each.name: each for each in fields(AdapterSettings)}
    assert {each.name for each in SETTINGS} == set(known)
    for each in SETTINGS:
        default = known[each.name].default
        if default is MISSING or default is False:
            assert each.default == ""
        elif isinstance(default, int | float):
            assert float(each.default) == default, each.name
        elif isinstance(default, str) and default:
            assert each.default == default
    assert CONTROLS[0] == "Quality 1 of 5.\n"


def test_the_page_has_the_same_settings():
    page = DOC.read_text(encoding="utf-8")
    for each in SETTINGS:
        default = each.default or ("false" if each.kind is bool else "required")
        assert f"| `{each.name}` | {default} | {each.text} |" in page


def test_a_training_ends_with_a_table_and_a_voice(lm, config, tmp_path):
    done = lm("train", "adapter", config, "--steps", 3, "--objective", "rloo")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["on", "held-out", "prompts", "base", "adapter"]
    assert [line.split()[0] for line in lines[1:]] == ["reward", "nats"]
    assert "9 prompts to train on, 3 held out." in done.stderr
    assert "step 3 of 3, reward " in done.stderr
    assert f"Wrote {tmp_path / 'out'}. It speaks by: lmalgebra run {tmp_path / 'out' / 'voice.toml'}" in done.stderr
    card = json.loads((tmp_path / "out" / "lmalgebra.json").read_text())
    assert (card["settings"]["steps"], card["objective"]) == (3, "rloo")
    assert lm("run", tmp_path / "out" / "voice.toml", "--prompt", "abc", "--max-new-tokens", 3).stdout


def test_base_and_adapter_are_evaluated_in_the_end(lm, config, tmp_path):
    suite = ("--steps", 1, "--precision", "float32", "--evaluate-suite", "toxicity", "--evaluate-judges")
    done = lm("train", "adapter", config, *suite, "nothing:here", code=2)
    assert done.stderr.startswith("error: The judge 'nothing:here' cannot be imported")  # before training
    done = lm("train", "adapter", config, *suite, REWARD)
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [voice["name"] for voice in result["voices"]] == ["base", "adapter"]
    assert "base" in done.stdout


def test_mistakes_are_one_sentence(lm, config, tmp_path):
    done = lm("train", "adapter", config, "--objective", "dpo", code=2)
    assert done.stderr == "error: objective = 'dpo' is unknown. Known: quark, rloo, ppo, grpo.\n"
    done = lm("train", "adapter", config, "--trackers", "wand", code=2)
    assert "error: 'wand' is no tracker. Known: " in done.stderr
    done = lm("train", "adapter", "toxic", code=2)
    assert "There is no file of settings 'toxic'." in done.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(config, tmp_path):
    stop_a_training(tmp_path, "adapter", config, "--steps", 500)
